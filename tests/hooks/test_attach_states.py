"""Models whose passes are not those of a plain decoder with a cache of keys and values."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    RwkvConfig,
    RwkvForCausalLM,
    XLMConfig,
    XLMWithLMHeadModel,
)

import parts
import tiny
from steer.hooks import (
    Model,
    Plan,
    RunError,
    Span,
    add,
    after,
    attach,
    first,
    positions,
    resid_post,
)

V = tiny.vector(3)
Rows = list[list[int]]
GREEDY = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
SPANS: dict[str, Any] = {
    "all": "all",
    "prompt": "prompt",
    "generated": "generated",
    "last": "last",
    "first(1)": first(1),
    "first(2)": first(2),
    "positions(3, 6)": positions(3, 6),
    "positions(-1, 5)": positions(-1, 5),
    "after(8)": after(8),
}


def _plan(span: str | Span) -> Plan:
    return add(resid_post(1), V, span=span)


@contextmanager
def _edited(model: Model) -> Iterator[list[Rows]]:
    """Which tokens of layer 1 were edited, a list of rows for each pass.

    Compares what the layer computes with what the rest of the model is given.
    """
    layer, log = model.anatomy.layers[1], list[Rows]()
    forward, raw = layer.forward, list[Tensor]()

    def computed(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        raw.append(parts.states_of(out).detach().clone())
        return out

    def given(_: Any, __: Any, out: Any) -> None:
        change = parts.states_of(out).detach() - raw.pop()
        edited = change.abs().amax(-1) > 1e-4
        if edited.any():
            torch.testing.assert_close(change[edited], V.expand(int(edited.sum()), -1))
        log.append(edited.int().tolist())

    layer.forward = computed
    handle = layer.register_forward_hook(given)
    try:
        yield log
    finally:
        handle.remove()
        del layer.forward


# T5, whose start token may be given or not.

ENCODED = torch.tensor([[20, 21, 22, 23]])


def _t5(span: str | Span, run: Callable[[PreTrainedModel], Any]) -> list[Rows]:
    model = parts.model("t5")
    with torch.no_grad(), _edited(model) as log, attach(model, _plan(span)):
        run(model.hf)
    return log


def _of_prompt(prompt: Sequence[int], span: str) -> list[Rows]:
    """What three passes edit when the prompt is `prompt`: 1 a real token, 0 padding."""
    last = max(i for i, real in enumerate(prompt) if real)
    begin = {
        "all": list(prompt),
        "prompt": list(prompt),
        "generated": [0] * len(prompt),
        "last": [int(i == last) for i in range(len(prompt))],
        "first(1)": [0] * len(prompt),
    }[span]
    later = {"all": [1, 1], "generated": [1, 1], "first(1)": [1, 0]}.get(span, [0, 0])
    return [[begin], *([[edit]] for edit in later)]


STARTS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "nothing": ({}, [1]),
    "the start token": ({"decoder_input_ids": torch.tensor([[0]])}, [1]),
    "a start and two": ({"decoder_input_ids": torch.tensor([[0, 11, 12]])}, [1, 1, 1]),
    "two without a start": ({"decoder_input_ids": torch.tensor([[11, 12]])}, [1, 1, 1]),
    "padded behind the start": (
        {
            "decoder_input_ids": torch.tensor([[0, 0, 11, 12]]),
            "decoder_attention_mask": torch.tensor([[1, 0, 1, 1]]),
        },
        [1, 0, 1, 1],
    ),
    "padded before the start": (
        {
            "decoder_input_ids": torch.tensor([[0, 0, 11, 12]]),
            "decoder_attention_mask": torch.tensor([[0, 1, 1, 1]]),
        },
        [0, 1, 1, 1],
    ),
    "masked without a start": (
        {
            "decoder_input_ids": torch.tensor([[13, 11, 12]]),
            "decoder_attention_mask": torch.tensor([[0, 1, 1]]),
        },
        [1, 0, 1, 1],
    ),
    "a start of one's own": (
        {"decoder_input_ids": torch.tensor([[11, 12]]), "decoder_start_token_id": 11},
        [1, 1],
    ),
}
T5_SPANS = ["all", "prompt", "generated", "last", "first(1)"]


@pytest.mark.parametrize("span", T5_SPANS)
@pytest.mark.parametrize("start", STARTS)
def test_a_decoder_prompt_is_what_the_decoder_reads(start: str, span: str) -> None:
    given, prompt = STARTS[start]
    options = GREEDY | {"max_new_tokens": 3}
    log = _t5(SPANS[span], lambda hf: hf.generate(ENCODED, **given, **options))
    assert log == _of_prompt(prompt, span)


@pytest.mark.parametrize("span", T5_SPANS)
@pytest.mark.parametrize("start", STARTS)
def test_an_uncached_decoder_reads_its_prompt_again(start: str, span: str) -> None:
    given, prompt = STARTS[start]
    options = GREEDY | {"max_new_tokens": 3, "use_cache": False}
    log = _t5(SPANS[span], lambda hf: hf.generate(ENCODED, **given, **options))
    pieces = [row for (row,) in _of_prompt(prompt, span)]
    assert log == [[[edit for piece in pieces[:n] for edit in piece]] for n in (1, 2, 3)]


@pytest.mark.parametrize("span", T5_SPANS)
def test_a_plain_pass_of_a_decoder_is_all_prompt(span: str) -> None:
    ids = torch.tensor([[0, 11, 12, 13], [0, 14, 15, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    log = _t5(
        SPANS[span],
        lambda hf: hf(ENCODED.expand(2, -1), decoder_input_ids=ids, decoder_attention_mask=mask),
    )
    assert log == [[_of_prompt(row, span)[0][0] for row in mask.tolist()]]


@pytest.mark.parametrize("span", T5_SPANS)
def test_decoder_prompts_of_beams_are_those_of_their_row(span: str) -> None:
    ids = torch.tensor([[0, 0, 11, 12], [0, 14, 15, 16]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    given = {"decoder_input_ids": ids, "decoder_attention_mask": mask, "num_beams": 2}
    options = GREEDY | {"max_new_tokens": 2}
    log = _t5(SPANS[span], lambda hf: hf.generate(ENCODED.expand(2, -1), **given, **options))
    rows = [row for row in mask.tolist() for _ in range(2)]
    assert log == [[_of_prompt(row, span)[n][0] for row in rows] for n in (0, 1)]


# Recurrent models, whose state does not say how many tokens it has read.

_SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_MAMBA2 = {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 8}
_RWKV = {"attention_hidden_size": 32, "intermediate_size": 64, "context_length": 64}
RECURRENT: dict[str, Callable[[], PreTrainedModel]] = {
    "mamba": lambda: MambaForCausalLM(MambaConfig(**_SIZES, state_size=8)),
    "mamba2": lambda: Mamba2ForCausalLM(Mamba2Config(**_SIZES, **_MAMBA2)),
    "rwkv": lambda: RwkvForCausalLM(RwkvConfig(**_SIZES, **_RWKV)),
}
PADDED = ["mamba", "mamba2"]  # plain RWKV reads padding as tokens
recurrent = pytest.mark.parametrize("family", RECURRENT)
every_span = pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
ROW = [5, 6, 7, 8]
# What is edited in `ROW` and the three tokens after it that are read, by hand.
BY_HAND: dict[str, list[int]] = {
    "all": [1, 1, 1, 1, 1, 1, 1],
    "prompt": [1, 1, 1, 1, 0, 0, 0],
    "generated": [0, 0, 0, 0, 1, 1, 1],
    "last": [0, 0, 0, 1, 0, 0, 0],
    "first(1)": [0, 0, 0, 0, 1, 0, 0],
    "first(2)": [0, 0, 0, 0, 1, 1, 0],
    "positions(3, 6)": [0, 0, 0, 1, 1, 1, 0],
    "positions(-1, 5)": [0, 0, 0, 1, 1, 0, 0],
    "after(8)": [0, 0, 0, 0, 1, 1, 1],
}


@cache
def _recurrent(family: str) -> Model:
    torch.manual_seed(0)
    return Model(RECURRENT[family]().eval())


def _generated(family: str, rows: Rows, span: str, **options: Any) -> tuple[Any, list[Rows]]:
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    model = _recurrent(family)
    asked = {"return_dict_in_generate": True, "output_logits": True}
    with _edited(model) as log, attach(model, _plan(SPANS[span])):
        out = model.hf.generate(ids, attention_mask=mask, **(GREEDY | asked | options))
    return out, log


@recurrent
@pytest.mark.parametrize("span", SPANS)
def test_a_state_is_edited_as_whole_rows_are(family: str, span: str) -> None:
    hand = BY_HAND[span]
    cached, log = _generated(family, [ROW], span)
    assert log == [[hand[:4]], *([[edit]] for edit in hand[4:])]
    whole, log = _generated(family, [ROW], span, use_cache=False)
    assert log == [[hand[:n]] for n in (4, 5, 6, 7)]
    assert torch.equal(cached.sequences, whole.sequences)
    for a, b in zip(cached.logits, whole.logits, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", PADDED)
@pytest.mark.parametrize("span", SPANS)
def test_padding_moves_no_edit_of_a_state(family: str, span: str) -> None:
    hand, rows = BY_HAND[span], [[9, 10, 11, 5, 6, 8], ROW]
    alone, _ = _generated(family, [ROW], span)
    cached, log = _generated(family, rows, span)
    whole, whole_log = _generated(family, rows, span, use_cache=False)
    assert [row[1] for row in log] == [[0, 0, *hand[:4]], *([edit] for edit in hand[4:])]
    assert [row[1] for row in whole_log] == [[0, 0, *hand[:n]] for n in (4, 5, 6, 7)]
    for a, b, c in zip(alone.logits, cached.logits, whole.logits, strict=True):
        torch.testing.assert_close(b[1], a[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(c, b, rtol=1e-3, atol=1e-4)


def _loop(family: str, model: Model) -> Iterator[Tensor]:
    """The logits of `ROW` and three more tokens, by the user's own loop with a state."""
    name = "state" if family == "rwkv" else "cache"
    out = model.hf(torch.tensor([ROW]), use_cache=True)
    yield out.logits[0]
    for token in (20, 21, 22):
        out = model.hf(torch.tensor([[token]]), use_cache=True, **{name: getattr(out, name)})
        yield out.logits[0]


@recurrent
@torch.no_grad()
def test_an_unsteered_loop_with_a_state_is_the_whole_row(family: str) -> None:
    model = _recurrent(family)
    whole = model.hf(torch.tensor([[*ROW, 20, 21, 22]]), use_cache=False).logits[0]
    torch.testing.assert_close(torch.cat(list(_loop(family, model))), whole, rtol=1e-3, atol=1e-4)


@recurrent
@pytest.mark.parametrize("span", SPANS)
@torch.no_grad()
def test_a_loop_with_a_state_is_right_or_refused(family: str, span: str) -> None:
    model = _recurrent(family)
    with _edited(model) as log, attach(model, _plan(SPANS[span])):
        steps = _loop(family, model)
        next(steps)
        refused = ""
        try:
            list(steps)
        except RunError as error:
            refused = str(error)
    hand = BY_HAND[span]
    assert log[0] == [hand[:4]]
    if refused:
        assert "use generate, or pass whole rows without a cache" in refused
        assert log[1:] == []
    else:
        assert log[1:] == [[[edit]] for edit in hand[4:]]


@pytest.mark.parametrize("family", PADDED)
@torch.no_grad()
def test_a_loop_with_a_mamba_state_is_refused_by_message(family: str) -> None:
    model = _recurrent(family)
    message = "^attach: DynamicCache does not say how many tokens it holds"
    with attach(model, _plan("generated")):
        steps = _loop(family, model)
        next(steps)
        with pytest.raises(RunError, match=message):
            next(steps)


@recurrent
@pytest.mark.parametrize("span", SPANS)
@torch.no_grad()
def test_whole_rows_without_a_state_are_prompts(family: str, span: str) -> None:
    model = _recurrent(family)
    in_prompt = {"positions(3, 6)": [0, 0, 0, 1, 1, 1, 0], "positions(-1, 5)": [0] * 7}
    in_prompt |= {"all": [1] * 7, "prompt": [1] * 7, "last": [0, 0, 0, 0, 0, 0, 1]}
    in_prompt |= {"after(8)": BY_HAND["after(8)"]}
    with _edited(model) as log, attach(model, _plan(SPANS[span])):
        model.hf(torch.tensor([[*ROW, 20, 21, 22]]), use_cache=False)
    assert log == [[in_prompt.get(span, [0] * 7)]]


@recurrent
@torch.no_grad()
def test_a_processor_of_a_recurrent_model_reads_a_text_of_its_own(family: str) -> None:
    model = _recurrent(family)

    def look(_: Tensor, scores: Tensor) -> Tensor:
        model.hf(torch.tensor([[30, 31]]), use_cache=False)
        return scores

    with _edited(model) as log, attach(model, _plan("prompt")):
        model.hf.generate(torch.tensor([ROW]), logits_processor=[look], **GREEDY)
    assert log == [[[1, 1, 1, 1]], [[1, 1]], *([[[0]], [[1, 1]]] * 3)]


# XLM, which reads a whole row each time and itself leaves out what its cache holds.


@cache
def _xlm() -> Model:
    torch.manual_seed(0)
    sizes = {"emb_dim": 32, "n_layers": 4, "n_heads": 4, "mask_token_id": 3}
    return Model(XLMWithLMHeadModel(XLMConfig(**_SIZES | sizes)).eval())


FEWER = (
    r"^site resid_post\.1: the decoder was given \(1, 6\) tokens, but \(1, 1\) are here; "
    "this model cannot be steered in such a pass"
)


@pytest.mark.parametrize("span", ["all", "prompt", "generated", "last", first(2)], ids=str)
@torch.no_grad()
def test_a_pass_whose_states_are_fewer_than_its_tokens_is_refused(span: str | Span) -> None:
    held = (DynamicCache(config=_xlm().hf.config) for _ in range(2))
    text, both = torch.tensor([[5, 6, 7, 8, 9, 10]]), EncoderDecoderCache(*held)
    with attach(_xlm(), _plan(span)):
        _xlm().hf(text[:, :5], cache=both)
        with pytest.raises(RunError, match=FEWER):
            _xlm().hf(text, cache=both)


@pytest.mark.parametrize("span", [first(3), positions(3, 6)], ids=str)
def test_a_generation_of_it_is_refused_with_its_cache(span: Span) -> None:
    with attach(_xlm(), _plan(span)), pytest.raises(RunError, match=FEWER):
        _xlm().hf.generate(torch.tensor([ROW]), **GREEDY)
