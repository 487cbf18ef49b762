"""A plan does to a TransformerLens bridge what it does to the transformers model inside it."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import families
import tiny
from steer.hooks import (
    Model,
    ModelError,
    Site,
    any_of,
    attach,
    capture,
    first,
    prompts,
    record,
    resid_post,
)
from wrapped import (
    BACKEND_FAMILIES,
    IDS,
    MASK,
    REAL,
    SITES,
    SPANS,
    TEXTS,
    everywhere,
    plan_at,
    sites_of,
)

if find_spec("transformer_lens") is None:
    pytest.skip("transformer-lens is not installed", allow_module_level=True)

# TransformerLens 4.3 calls transformers by the cache's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")

NOT_EXACT = {"gpt2"}  # TransformerLens splits its one projection of queries, keys and values
PLACES = (MASK.cumsum(1) - 1).clamp_min(0)  # GPT-2 does not make them from the mask
PLAIN: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False}
GREEDY: dict[str, Any] = PLAIN | {"stop_at_eos": False, "verbose": False}
every_family = pytest.mark.parametrize("family", BACKEND_FAMILIES)
every_span = pytest.mark.parametrize("span", SPANS)


def _boot(hf: PreTrainedModel) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    hf.config.architectures = [type(hf).__name__]  # from_pretrained says it, a configuration not
    tokenizer = tiny.tokenizer()
    tokenizer.init_kwargs.update(name_or_path="tiny", add_bos_token=True)  # or it is loaded again
    return TransformerBridge.boot_transformers(
        "tiny", hf_model=hf, tokenizer=tokenizer, device="cpu", dtype=torch.float32
    )


def _fresh(family: str) -> tuple[Any, PreTrainedModel]:
    """A bridge, after a first pass (which leaves hooks of its own), and a plain copy."""
    plain = families.network(family)
    plain.set_attn_implementation("eager")  # as booting does
    plain.generation_config.eos_token_id = None
    bridge = _boot(copy.deepcopy(plain))
    bridge(IDS)
    return bridge, plain


_pair = cache(_fresh)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _logits(model: Any, ids: Tensor = IDS, mask: Tensor = MASK) -> Tensor:
    """`[tokens, vocab]` of the tokens that are not padding."""
    if isinstance(model, PreTrainedModel):
        places = (mask.cumsum(1) - 1).clamp_min(0)
        out: Tensor = model(ids, attention_mask=mask, position_ids=places).logits
    else:
        out = model(ids, attention_mask=mask)
    return out[mask.bool()]


def _generated(model: Any, **options: Any) -> list[list[int]]:
    if isinstance(model, PreTrainedModel):
        out = model.generate(IDS, attention_mask=MASK, **PLAIN | options)
    else:
        out = model.generate(IDS, attention_mask=MASK, **GREEDY | options)
    tokens: list[list[int]] = out[:, IDS.shape[1] :].tolist()
    return tokens


@every_span
@every_family
def test_logits_are_those_of_the_plain_model(family: str, span: str) -> None:
    bridge, plain = _pair(family)
    clean = _logits(plain)
    for site in sites_of(family):
        with attach(plain, plan_at(site, span)):
            expected = _logits(plain)
        with attach(bridge, plan_at(site, span)):
            got = _logits(bridge)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
        assert family in NOT_EXACT or torch.equal(got, expected), site
        assert torch.allclose(expected, clean, atol=1e-2) == (span == "generated"), site


@every_span
@every_family
def test_generations_are_those_of_the_plain_model(family: str, span: str) -> None:
    bridge, plain = _pair(family)
    for plan in (plan_at(resid_post(1), span), everywhere(family, span)):
        with attach(plain, plan):
            expected = _generated(plain)
        with attach(bridge, plan):
            assert _generated(bridge) == expected
            assert _generated(bridge, use_past_kv_cache=False) == expected
            assert _generated(bridge.original_model) == expected
            assert _generated(bridge.original_model, use_cache=False) == expected


@every_family
def test_every_site_steers_what_is_generated(family: str) -> None:
    bridge, plain = _pair(family)
    for site in sites_of(family):
        with attach(plain, plan_at(site, "generated")):
            expected = _generated(plain)
        with attach(bridge, plan_at(site, "generated")):
            assert _generated(bridge) == expected, site


@pytest.mark.parametrize("span", [first(2), any_of([5, 11, 20, 30, 40]), ~any_of(6)], ids=str)
def test_spans_that_look_further_agree_too(span: Any) -> None:
    bridge, plain = _pair("llama")
    with attach(plain, plan_at(resid_post(1), span)):
        expected = _generated(plain)
    with attach(bridge, plan_at(resid_post(1), span)):
        assert _generated(bridge) == expected
        assert _generated(bridge, use_past_kv_cache=False) == expected


def test_the_generations_tell_the_spans_apart() -> None:
    _, plain = _pair("llama")
    seen = [str(_generated(plain))]
    for span in SPANS:
        with attach(plain, plan_at(resid_post(1), span)):
            seen.append(str(_generated(plain)))
    assert len(set(seen)) == 5


@every_span
def test_a_stream_is_what_generate_gives(span: str) -> None:
    bridge, plain = _pair("llama")
    with attach(plain, plan_at(resid_post(1), span)):
        expected = _generated(plain)
    for cached in (True, False):
        with attach(bridge, plan_at(resid_post(1), span)):
            chunks = list(
                bridge.generate_stream(
                    IDS, attention_mask=MASK, use_past_kv_cache=cached, max_tokens_per_yield=2,
                    **GREEDY,
                )
            )  # fmt: skip
        assert len(chunks) > 1
        assert torch.cat(chunks, 1)[:, -5:].tolist() == expected


def test_a_pass_between_the_chunks_of_a_stream_is_one_of_its_own() -> None:
    bridge, _ = _pair("llama")
    plan = plan_at(resid_post(1), "generated")
    alone = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])  # longer than the prompts of the stream
    clean = bridge(alone)
    with attach(bridge, plan):
        options = GREEDY | {"max_tokens_per_yield": 1}
        for _ in bridge.generate_stream(IDS, attention_mask=MASK, **options):
            assert torch.equal(bridge(alone), clean)  # all of it is prompt


def test_a_stream_that_is_left_early_leaves_nothing() -> None:
    bridge, plain = _pair("llama")
    plan = plan_at(resid_post(1), "generated")
    with attach(bridge, plan):
        stream = bridge.generate_stream(IDS, attention_mask=MASK, max_tokens_per_yield=1, **GREEDY)
        next(stream)
        stream.close()
        with prompts([2, 4]):
            got = _logits(bridge)
    with attach(plain, plan), prompts([2, 4]):
        assert torch.equal(got, _logits(plain))


@pytest.mark.parametrize("span", ["generated", "last"])
@every_family
def test_texts_are_steered_together_as_one_by_one(family: str, span: str) -> None:
    bridge, _ = _pair(family)
    options = GREEDY | {"return_type": "tokens"}
    with attach(bridge, plan_at(resid_post(1), span)):
        together = bridge.generate(TEXTS, **options)[:, -5:]
        uncached = bridge.generate(TEXTS, use_past_kv_cache=False, **options)[:, -5:]
        alone = torch.cat([bridge.generate(text, **options)[:, -5:] for text in TEXTS])
    assert together.tolist() == alone.tolist() == uncached.tolist()


def test_a_side_of_padding_is_read_like_a_mask() -> None:
    bridge, plain = _pair("llama")
    with attach(plain, plan_at(resid_post(1), "last")):
        expected = _generated(plain)
    with attach(bridge, plan_at(resid_post(1), "last")):
        out = bridge.generate(IDS, padding_side="left", prepend_bos=False, **GREEDY)
    assert out[:, IDS.shape[1] :].tolist() == expected


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_padded_on_the_left_need_nothing_and_on_the_right_prompts(side: str) -> None:
    # On the right TransformerLens gives no mask, so that padding passes for tokens.
    bridge, _ = _fresh("llama")
    bridge.tokenizer.padding_side = side
    with attach(bridge, plan_at(resid_post(1), "last")):
        alone = [bridge(text)[0, -1] for text in TEXTS]
        lengths = [bridge.to_tokens(text).shape[1] for text in TEXTS]
        untold = bridge(TEXTS)
        with prompts(lengths):
            told = bridge(TEXTS)
    ends = [-1, -1] if side == "left" else [n - 1 for n in lengths]
    for r, end in enumerate(ends):
        torch.testing.assert_close(told[r, end], alone[r], rtol=0, atol=1e-4)
    same = torch.allclose(untold[0, ends[0]], alone[0], atol=1e-4)
    assert same == (side == "left")


def test_each_row_has_its_own_plan() -> None:
    for family in ("gpt2", "qwen3_moe"):
        bridge, plain = _pair(family)
        plans = [everywhere(family, "generated"), None]
        with attach(plain, plans), prompts([2, 3]):
            expected, tokens = _logits(plain), _generated(plain)
        with attach(bridge, plans), prompts([2, 3]):
            torch.testing.assert_close(_logits(bridge), expected, rtol=0, atol=1e-4)
            assert _generated(bridge) == tokens
            assert _generated(bridge)[1] == _generated(plain)[1]  # which has none


POINTS = {
    "embed": "embed.hook_out",
    "resid_pre": "blocks.1.hook_resid_pre",
    "heads": "blocks.1.attn.hook_z",
    "attn_out": "blocks.1.hook_attn_out",
    "mlp_out": "blocks.1.hook_mlp_out",
    "resid_post": "blocks.1.hook_resid_post",
    "final": "ln_final.hook_out",
}


@every_family
def test_caches_and_hooks_of_transformer_lens_see_the_edited_states(family: str) -> None:
    bridge, plain = _fresh(family)
    inputs = {"input_ids": IDS, "attention_mask": MASK, "position_ids": PLACES}
    for site in SITES:
        seen: list[Tensor] = []
        with attach(plain, plan_at(site)) as model:
            expected = capture(model, inputs, [site])[site]
        with attach(bridge, plan_at(site)) as model:
            _, cached = bridge.run_with_cache(IDS, attention_mask=MASK)
            hook = (POINTS[site.kind], lambda states, hook, seen=seen: seen.append(states.clone()))
            bridge.run_with_hooks(IDS, attention_mask=MASK, fwd_hooks=[hook])
            read = capture(model, inputs, [site])[site]
        for got in (cached[POINTS[site.kind]], seen[0], read):
            torch.testing.assert_close(
                got.reshape(expected.shape)[REAL], expected[REAL], rtol=0, atol=1e-4
            )


def test_hidden_states_are_the_edited_ones() -> None:
    bridge, plain = _fresh("llama")
    options: dict[str, Any] = {"attention_mask": MASK, "output_hidden_states": True}
    with attach(plain, plan_at(resid_post(1))):
        expected = plain(IDS, **options).hidden_states
    with attach(bridge, plan_at(resid_post(1))):
        got = bridge.original_model(IDS, **options).hidden_states
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours[REAL], theirs[REAL])


def test_blocks_nest() -> None:
    bridge, _ = _pair("llama")
    outer, inner = plan_at(resid_post(1), "generated"), plan_at(resid_post(2), "last")
    with attach(bridge, outer + inner):
        expected = _logits(bridge), _generated(bridge)
    with attach(bridge, outer), attach(bridge, inner):
        got = _logits(bridge), _generated(bridge)
    assert torch.equal(got[0], expected[0])
    assert got[1] == expected[1]


@every_family
@pytest.mark.parametrize("error", [None, KeyError("stop")])
def test_a_block_leaves_nothing(family: str, error: Exception | None) -> None:
    bridge, _ = _fresh(family)
    clean = _logits(bridge)
    _generated(bridge)  # after which the bridge holds more of its own
    held, hooks = dict(bridge.__dict__), tiny.hook_count(bridge)
    inside = dict(bridge.original_model.__dict__)
    with suppress(KeyError), attach(bridge, everywhere(family, "all")):
        assert not torch.allclose(_logits(bridge), clean, atol=0.1)
        _generated(bridge)
        if error is not None:
            raise error
    assert tiny.hook_count(bridge) == hooks
    assert bridge.__dict__ == held
    assert bridge.original_model.__dict__ == inside
    assert torch.equal(_logits(bridge), clean)


def test_folded_weights_are_refused() -> None:
    bridge, _ = _fresh("llama")
    bridge.enable_compatibility_mode(disable_warnings=True)
    held, hooks = dict(bridge.__dict__), tiny.hook_count(bridge)
    message = "^attach: the weights of this TransformerBridge are folded and centred"
    with pytest.raises(ModelError, match=message), attach(bridge, plan_at(resid_post(1))):
        raise AssertionError("entered")
    assert tiny.hook_count(bridge) == hooks
    assert bridge.__dict__ == held


def test_compatibility_without_processing_is_steered() -> None:
    bridge, plain = _fresh("llama")
    bridge.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    for site in SITES:
        with attach(plain, plan_at(site)):
            expected = _logits(plain)
        with attach(bridge, plan_at(site)):
            torch.testing.assert_close(_logits(bridge), expected, rtol=0, atol=1e-4)


def test_a_model_around_a_bridge_is_steered_like_the_bridge() -> None:
    bridge, plain = _pair("llama")
    plan = plan_at(resid_post(1), "generated")
    with attach(plain, plan):
        expected = _generated(plain)
    with attach(Model(bridge), plan):
        assert _generated(bridge) == expected
        assert _generated(bridge, use_past_kv_cache=False) == expected


def test_the_model_inside_is_steered_by_itself() -> None:
    bridge, plain = _pair("qwen3_moe")
    with attach(plain, everywhere("qwen3_moe", "last")):
        expected = _logits(plain), _generated(plain)
    with attach(bridge.original_model, everywhere("qwen3_moe", "last")):
        assert torch.equal(_logits(bridge), expected[0])
        assert _generated(bridge.original_model, use_cache=False) == expected[1]


@every_family
def test_what_is_recorded_is_the_plain_models(family: str) -> None:
    bridge, plain = _fresh(family)
    sites = [Site(s.kind, None if s.layer is None else 2) for s in sites_of(family)]
    model = Model(plain, tiny.tokenizer())
    for plan in (None, everywhere(family, "last")):
        with attach(model, plan):
            expected = record(model, TEXTS, sites, span="all", pool="mean")
        with attach(bridge, plan):
            got = record(Model(bridge), TEXTS, sites, span="all", pool="mean")
            same = record(bridge, TEXTS, sites, span="all", pool="mean")
        for site in sites:
            torch.testing.assert_close(got[site], expected[site], rtol=0, atol=1e-4)
            assert torch.equal(same[site], got[site])
