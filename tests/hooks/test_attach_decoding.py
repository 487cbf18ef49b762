"""However tokens are fed to the model, a plan edits the same ones."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, MistralConfig, MistralForCausalLM

import onerow
import tiny
from steer.hooks import Model, Plan, add, attach, prompts, resid_post

# Longer than the sliding window of 8 of tiny gemma3, and much shorter.
ROWS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [16, 17, 18], [19]]
WIDTH, NEW = 11, 3
SPANS = ["all", "prompt", "generated", "last"]
spans = pytest.mark.parametrize("span", SPANS)


def _plan(span: str) -> Plan:
    return add(resid_post(1), tiny.vector(1), strength=2.0, span=span)


def _step(span: str) -> onerow.Step:
    return onerow.Step("resid_post", 1, "add", tiny.vector(1), span, 2.0)


def _generate(
    model: Model, plan: Plan | None, rows: list[list[int]] = ROWS, pad: str = "left", **options: Any
) -> Any:
    batch = model.batch(rows, pad=pad)
    del batch["position_ids"]
    options = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None} | options
    with attach(model, plan):
        return model.hf.generate(**batch, **options)


def _new(model: Model, plan: Plan | None, **options: Any) -> list[list[int]]:
    out: list[list[int]] = _generate(model, plan, **options)[:, WIDTH:].tolist()
    return out


def _by_hand(model: Model, span: str) -> list[list[int]]:
    """Each row alone and unpadded, one full pass a token, its prompt's length told."""
    out = []
    for row in ROWS:
        ids = list(row)
        for _ in range(NEW):
            with attach(model, _plan(span)), prompts([len(row)]):
                ids.append(int(model.hf(torch.tensor([ids])).logits[0, -1].argmax()))
        out.append(ids[len(row) :])
    return out


@spans
def test_cached_and_uncached_generation_agree_by_hand(any_model: Model, span: str) -> None:
    expected = _by_hand(any_model, span)
    assert _new(any_model, _plan(span)) == expected
    assert _new(any_model, _plan(span), use_cache=False) == expected


@cache
def _expected(span: str) -> list[list[int]]:
    hf = tiny.network()
    return [onerow.greedy(hf, row, NEW, [_step(span)]) for row in ROWS]


def test_the_spans_matter() -> None:
    none = [onerow.greedy(tiny.network(), row, NEW, []) for row in ROWS]
    assert len({str(x) for x in [none, *map(_expected, SPANS)]}) == 5


WAYS: dict[str, dict[str, Any]] = {
    "cached": {},
    "uncached": {"use_cache": False},
    "chunks of 4": {"prefill_chunk_size": 4},
    "chunks of 1": {"prefill_chunk_size": 1},
    "static": {"cache_implementation": "static"},
    "static chunks": {"cache_implementation": "static", "prefill_chunk_size": 3},
}


@spans
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_decode_agrees_with_one_row_alone(model: Model, way: str, span: str) -> None:
    assert _new(model, _plan(span), **WAYS[way]) == _expected(span)


@spans
def test_guessed_tokens_are_no_prompt(model: Model, span: str) -> None:
    for row, expected in zip(ROWS[:2], _expected(span), strict=False):
        got = _generate(model, _plan(span), [row], prompt_lookup_num_tokens=3)
        assert got[0, len(row) :].tolist() == expected


def _mistral() -> Model:
    torch.manual_seed(0)
    hf = MistralForCausalLM(MistralConfig(**tiny._COMMON, sliding_window=8)).eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    return Model(hf, tiny.tokenizer())


@pytest.mark.parametrize("span", ["generated", "last"])
@pytest.mark.parametrize("family", ["gemma3", "mistral"])
def test_sliding_windows_do_not_hide_padding(family: str, span: str) -> None:
    model = _mistral() if family == "mistral" else tiny.model(family)
    expected = _new(model, _plan(span), use_cache=False)
    for way in ("cached", "chunks of 4", "static"):
        assert _new(model, _plan(span), **WAYS[way]) == expected


@spans
def test_right_padding_selects_the_same_tokens_in_every_way(model: Model, span: str) -> None:
    # The first new token is read off padding there, so only the ways are compared.
    expected = _new(model, _plan(span), pad="right", **WAYS["uncached"])
    for way in ("cached", "static chunks"):
        assert _new(model, _plan(span), pad="right", **WAYS[way]) == expected


@spans
def test_beams_score_what_they_say(model: Model, span: str) -> None:
    options: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.0}
    options |= {"return_dict_in_generate": True, "output_scores": True}
    out = _generate(model, _plan(span), **options)
    again = _generate(model, _plan(span), use_cache=False, **options)
    assert torch.equal(out.sequences, again.sequences)
    prompt_of = [row for row in ROWS for _ in range(2)]
    for row, ids, score in zip(prompt_of, out.sequences, out.sequences_scores, strict=True):
        whole = [*row, *ids[WIDTH:].tolist()]
        logits = onerow.logits(model.hf, whole, len(row), [_step(span)]).log_softmax(-1)
        places = range(len(row) - 1, len(whole) - 1)
        by_hand = sum(float(logits[i, whole[i + 1]]) for i in places)
        assert float(score) == pytest.approx(by_hand, abs=1e-3)


@spans
def test_sampled_sequences_are_steered_like_their_prompt(model: Model, span: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"do_sample": True, "num_return_sequences": 3}
    options |= {"return_dict_in_generate": True, "output_logits": True}
    out = _generate(model, _plan(span), **options)
    assert len({tuple(ids.tolist()) for ids in out.sequences}) > 3
    for r, ids in enumerate(out.sequences):
        row = ROWS[r // 3]
        whole = [*row, *ids[WIDTH:].tolist()]
        expected = onerow.logits(model.hf, whole, len(row), [_step(span)])[len(row) - 1 : -1]
        got = torch.stack([step[r] for step in out.logits])
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


@spans
@pytest.mark.parametrize("pad", ["left", "right"])
def test_teacher_forcing_selects_the_tokens_of_generation(
    any_model: Model, span: str, pad: str
) -> None:
    plan = _plan(span)
    options: dict[str, Any] = {"return_dict_in_generate": True, "output_logits": True}
    out = _generate(any_model, plan, **options)
    rows = [[*row, *ids[WIDTH:].tolist()] for row, ids in zip(ROWS, out.sequences, strict=True)]
    with attach(any_model, plan), prompts([len(row) for row in ROWS]):
        forced = any_model.hf(**any_model.batch(rows, pad=pad)).logits
    for r, row in enumerate(ROWS):
        begin = len(row) - 1 + (WIDTH - len(row) if pad == "left" else 0)
        got = torch.stack([step[r] for step in out.logits])
        expected = forced[r, begin : begin + NEW]
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def _in_pieces(model: Model, plan: Plan, ids: Tensor, mask: Tensor, cuts: list[int]) -> Tensor:
    """A user's own decoding loop: a cache, and a mask over everything so far."""
    cache, logits = DynamicCache(config=model.hf.config), []
    places = (mask.cumsum(1) - 1).clamp_min(0)
    with attach(model, plan), torch.no_grad():
        for a, b in zip([0, *cuts], [*cuts, ids.shape[1]], strict=True):
            out = model.hf(
                ids[:, a:b],
                attention_mask=mask[:, :b],
                position_ids=places[:, a:b],
                cache=cache,
                use_cache=True,
            )
            logits.append(out.logits)
    return torch.cat(logits, 1)


@pytest.mark.parametrize("span", ["prompt", "generated"])
def test_a_hand_written_loop_is_prompt_and_then_generated(any_model: Model, span: str) -> None:
    # Without `prompts`, an empty cache means prompt and a filled one generated.
    batch = any_model.batch([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15]])
    ids, mask = batch["input_ids"], batch["attention_mask"]
    got = _in_pieces(any_model, _plan(span), ids, mask, cuts=[3, 4])
    with prompts([3, 2]):
        whole = _in_pieces(any_model, _plan(span), ids, mask, cuts=[])
        pieces = _in_pieces(any_model, _plan(span), ids, mask, cuts=[1, 2, 4])
    for other in (whole, pieces):
        torch.testing.assert_close(got[mask.bool()], other[mask.bool()], rtol=1e-3, atol=1e-3)
