"""Routing weights, against each family's mixture of experts written out in plain torch."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

import families
import parts
from steer.hooks import (
    Model,
    PlanError,
    SiteError,
    attach,
    capture,
    record,
    router,
    scale_experts,
)

ROWS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [30, 31, 32, 33]]
LAYER = 1
FACTORS = {0: 0.0, 1: 3.0, 2: -0.5}  # and nothing about expert 3
MOE = tuple(f for f in families.FAMILIES if parts.PARTS[f].routed)


def test_every_family_with_experts_is_here() -> None:
    expected = {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v3", "gpt_oss", "llama4"}
    assert set(MOE) == expected == set(WEIGHTS)


# The weights of all experts, [tokens, experts], by the rule of each family.


def _keep(scores: Tensor, k: int) -> Tensor:
    """The k largest of each token; 0 elsewhere."""
    least = scores.sort(-1, descending=True).values[:, k - 1 : k]
    return torch.where(scores >= least, scores, 0.0)


def _softmax_then_keep(block: nn.Module, x: Tensor) -> Tensor:
    scores = (x @ block.gate.weight.T).exp()
    return _keep(scores / scores.sum(-1, keepdim=True), 2)


def _mixtral(block: nn.Module, x: Tensor) -> Tensor:
    kept = _softmax_then_keep(block, x)
    return kept / kept.sum(-1, keepdim=True)


def _deepseek_v3(block: nn.Module, x: Tensor) -> Tensor:
    """Two groups of two; the group with the greater sum is taken whole, to a sum of 2.5."""
    scores = torch.sigmoid(x @ block.gate.weight.T)
    first = scores[:, :2].sum(-1) > scores[:, 2:].sum(-1)
    kept = torch.where(first[:, None] == torch.tensor([True, True, False, False]), scores, 0.0)
    return 2.5 * kept / kept.sum(-1, keepdim=True)


def _gpt_oss(block: nn.Module, x: Tensor) -> Tensor:
    kept = _keep((x @ block.router.weight.T + block.router.bias).exp(), 2)
    return kept / kept.sum(-1, keepdim=True)


def _llama4(block: nn.Module, x: Tensor) -> Tensor:
    return torch.sigmoid(x @ block.router.weight.T) * (
        _keep((x @ block.router.weight.T).exp(), 1) > 0
    )


WEIGHTS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "mixtral": _mixtral,
    "qwen2_moe": _softmax_then_keep,
    "qwen3_moe": _softmax_then_keep,
    "olmoe": _softmax_then_keep,
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
    "llama4": _llama4,
}


def _expert(family: str, block: nn.Module, e: int, x: Tensor, weight: Tensor) -> Tensor:
    """What expert `e` adds to each token, given its weights `[tokens, 1]`."""
    held = block.experts
    if family == "llama4":  # the weight scales what the expert is given
        gate, up = (weight * x @ held.gate_up_proj[e]).chunk(2, dim=-1)
        return up * silu(gate) @ held.down_proj[e]
    if family == "gpt_oss":
        both = x @ held.gate_up_proj[e] + held.gate_up_proj_bias[e]
        gate, up = both[:, ::2].clamp(max=7.0), both[:, 1::2].clamp(-7.0, 7.0)
        inner = (up + 1) * gate * torch.sigmoid(1.702 * gate)
        return weight * (inner @ held.down_proj[e] + held.down_proj_bias[e])
    gate, up = (x @ held.gate_up_proj[e].T).chunk(2, dim=-1)
    return weight * ((silu(gate) * up) @ held.down_proj[e].T)


def _shared(family: str, block: nn.Module, x: Tensor) -> Tensor:
    if family == "qwen2_moe":
        return torch.sigmoid(block.shared_expert_gate(x)) * block.shared_expert(x)
    name = {"deepseek_v3": "shared_experts", "llama4": "shared_expert"}.get(family)
    return torch.zeros_like(x) if name is None else block.get_submodule(name)(x)


def _by_hand(family: str, block: nn.Module, x: Tensor, factors: Tensor) -> Tensor:
    """The block's output for `x`, `[tokens, d]`; `factors` is `[tokens, experts]`."""
    weights = WEIGHTS[family](block, x) * factors
    out = _shared(family, block, x)
    for e in range(parts.EXPERTS):
        out = out + _expert(family, block, e, x, weights[:, e : e + 1])
    return out


def _factors(chosen: Tensor, factors: Mapping[int, float]) -> Tensor:
    """`[*chosen, experts]`: the factors where chosen, 1 elsewhere."""
    line = torch.tensor([factors.get(e, 1.0) for e in range(parts.EXPERTS)])
    return torch.where(chosen[..., None], line, 1.0)


def _block(model: Model, family: str) -> nn.Module:
    block = parts.part(model.hf, family, "mlp_out", LAYER)
    assert block is not None
    return block


def _run(model: Model, family: str, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What goes into the block and what comes out, `[tokens, d]`, padding included."""
    block, seen = _block(model, family), []
    with ExitStack() as stack:
        handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
        stack.callback(handle.remove)
        (out,) = stack.enter_context(parts.reading([block]))
        parts.logits(model.hf, inputs)
    return seen[0].reshape(-1, parts.D), out[0].reshape(-1, parts.D)


def _assert_scaled(
    family: str, plans: Any, inputs: dict[str, Tensor], factors: Tensor
) -> tuple[Tensor, Tensor]:
    """The block under `plans` gives what is worked out by hand; returns both outputs."""
    model = parts.model(family)
    x, base = _run(model, family, inputs)
    block = _block(model, family)
    with torch.no_grad():
        plain = _by_hand(family, block, x, torch.ones(parts.EXPERTS))
        expected = _by_hand(family, block, x, factors.reshape(-1, parts.EXPERTS))
    torch.testing.assert_close(base, plain, rtol=1e-4, atol=1e-5)
    with attach(model, plans):
        same, got = _run(model, family, inputs)
    assert torch.equal(same, x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    return base, got


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("family", MOE)
def test_chosen_experts_are_scaled_on_real_tokens(family: str, pad: str) -> None:
    inputs = parts.batch(family, ROWS, pad)
    factors = _factors(parts.real(inputs), FACTORS)
    base, got = _assert_scaled(family, scale_experts(router(LAYER), FACTORS), inputs, factors)
    assert not torch.allclose(base, got, atol=0.1)


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("family", MOE)
def test_a_span_keeps_the_other_tokens(family: str, pad: str) -> None:
    inputs = parts.batch(family, ROWS, pad)
    chosen = torch.zeros_like(parts.real(inputs))
    for r, row in enumerate(parts.real(inputs)):
        chosen[r, row.nonzero()[-1]] = True
    plan = scale_experts(router(LAYER), FACTORS, span="last", strength=0.5)
    half = {e: 1 + 0.5 * (f - 1) for e, f in FACTORS.items()}
    base, got = _assert_scaled(family, plan, inputs, _factors(chosen, half))
    others = ~chosen.flatten()
    assert torch.equal(got[others], base[others])
    assert not torch.equal(got[~others], base[~others])


@pytest.mark.parametrize("family", MOE)
def test_each_row_has_its_own_factors(family: str) -> None:
    inputs = parts.batch(family, [ROWS[0], ROWS[1], ROWS[1]])
    given: list[dict[int, float]] = [{0: 0.0, 2: 2.0}, {}, {1: -1.0, 2: 0.0, 3: 4.0}]
    plans = [scale_experts(router(LAYER), row) if row else None for row in given]
    factors = [_factors(r, row) for r, row in zip(parts.real(inputs), given, strict=True)]
    base, got = _assert_scaled(family, plans, inputs, torch.stack(factors))
    base, got = (out.reshape(3, 11, parts.D) for out in (base, got))
    assert torch.equal(base[1], got[1])
    assert not torch.equal(base[2], got[2])


@pytest.mark.parametrize("family", MOE)
def test_experts_of_generated_tokens_are_scaled_in_cached_passes(family: str) -> None:
    model = parts.model(family)
    every = FACTORS | {3: 2.0}  # or Llama 4 may choose no other
    plan = scale_experts(router(LAYER), every, span="generated")
    with attach(model, plan):
        tokens, cached = parts.generated(model.hf, parts.batch(family, ROWS))
    block, seen = _block(model, family), []

    def instead(states: Tensor, factors: Tensor) -> Tensor:
        x = seen.pop().reshape(-1, parts.D)
        return _by_hand(family, block, x, factors).reshape(states.shape)

    handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for row, new, scores in zip(ROWS, tokens.tolist(), cached, strict=True):
        whole = row + new[:-1]
        factors = _factors(parts.chosen("generated", len(row), len(whole))[0], every)
        with parts.changing(block, lambda states, factors=factors: instead(states, factors)):
            full = parts.logits(model.hf, parts.batch(family, [whole]))[0]
        torch.testing.assert_close(scores, full[len(row) - 1 :], rtol=1e-4, atol=1e-4)
        plain = parts.logits(model.hf, parts.batch(family, [whole]))[0]
        assert not torch.allclose(plain[-1], full[-1], atol=0.02)
    handle.remove()


@pytest.mark.parametrize("family", MOE)
def test_what_is_read_are_the_weights_of_all_experts(family: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS)
    x, _ = _run(model, family, inputs)
    with torch.no_grad():
        expected = WEIGHTS[family](_block(model, family), x).reshape(2, 11, parts.EXPERTS)
        got = capture(model, inputs, [router(LAYER)])[router(LAYER)]
    assert torch.equal(got != 0, expected != 0)
    k = 1 if family == "llama4" else 2
    assert torch.equal((got != 0).sum(-1), torch.full((2, 11), k))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    lists = record(model, ROWS, router(LAYER), pool="none")[router(LAYER)]
    for r, row in enumerate(parts.real(inputs)):
        torch.testing.assert_close(lists[r], expected[r][row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", MOE)
def test_what_is_read_are_the_scaled_weights(family: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS[:1])
    plain = capture(model, inputs, [router(LAYER)])[router(LAYER)]
    with attach(model, scale_experts(router(LAYER), FACTORS)):
        scaled = capture(model, inputs, [router(LAYER)])[router(LAYER)]
    torch.testing.assert_close(scaled, plain * torch.tensor([0.0, 3.0, -0.5, 1.0]))


@pytest.mark.parametrize("family", MOE)
def test_factor_one_and_strength_zero_change_no_bit(family: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS)
    base = parts.logits(model.hf, inputs)
    plan = scale_experts(router(LAYER), FACTORS)
    ones = scale_experts(router(LAYER), dict.fromkeys(range(parts.EXPERTS), 1.0))
    for nothing in (ones, plan.at(0.0), plan.at(torch.tensor(0.0))):
        with attach(model, nothing):
            assert torch.equal(parts.logits(model.hf, inputs), base)


@pytest.mark.parametrize(
    ("family", "layer", "block"),
    [
        ("deepseek_v3", 0, "DeepseekV3DecoderLayer"),
        ("llama4", 0, "Llama4TextDecoderLayer"),
        ("llama4", 2, "Llama4TextDecoderLayer"),
        ("llama", 1, "LlamaDecoderLayer"),
    ],
)
def test_a_layer_without_a_router_is_refused(family: str, layer: int, block: str) -> None:
    model = parts.model(family)
    message = f"^site router.{layer}: looked in {block} .*name it with places=.*router"
    with (
        pytest.raises(SiteError, match=message),
        attach(model, scale_experts(router(layer), {0: 2.0})),
    ):
        raise AssertionError("entered")


def test_an_expert_that_is_not_there_is_refused() -> None:
    model, plan = parts.model("mixtral"), scale_experts(router(LAYER), {1: 2.0, 4: 2.0})
    with pytest.raises(PlanError, match=r"router\.1"), attach(model, plan):
        raise AssertionError("entered")
