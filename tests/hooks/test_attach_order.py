"""Who comes first: nested blocks, the hooks of users, and the recorder of transformers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
from steer.hooks import (
    Model,
    Plan,
    ablate,
    add,
    attach,
    attn_out,
    capture,
    embed,
    final,
    mlp_out,
    resid_post,
    resid_pre,
)

V, U = tiny.vector(0), tiny.vector(1)
BATCH = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
SITES = [resid_pre(1), resid_post(1), attn_out(1), mlp_out(1), embed, final]


def _logits(model: Model) -> Tensor:
    logits: Tensor = model.hf(**BATCH).logits
    return logits


def _states(model: Model) -> tuple[Tensor, ...]:
    states: tuple[Tensor, ...] = model.hf(**BATCH, output_hidden_states=True).hidden_states
    return states


@pytest.mark.parametrize("site", SITES, ids=str)
def test_nested_blocks_are_the_sum_in_order(model: Model, site: Any) -> None:
    plans = [add(site, V), ablate(site, V), add(site, U, keep_norm=True)]
    with attach(model, plans[0] + plans[1] + plans[2]):
        whole = _logits(model)
    with attach(model, plans[0]), attach(model, plans[1]), attach(model, plans[2]):
        assert torch.equal(_logits(model), whole)
    with attach(model, plans[1]), attach(model, plans[0]), attach(model, plans[2]):
        assert not torch.allclose(_logits(model), whole, atol=1e-2)
    with attach(model, plans[1] + plans[0] + plans[2]):
        assert not torch.allclose(_logits(model), whole, atol=1e-2)


def test_order_by_hand(model: Model) -> None:
    base = _states(model)[2]
    u = U / U.norm()

    def ablated(states: Tensor) -> Tensor:
        return states - (states @ u)[..., None] * u

    with attach(model, add(resid_post(1), V)), attach(model, ablate(resid_post(1), U)):
        torch.testing.assert_close(_states(model)[2], ablated(base + V), rtol=0, atol=1e-4)
    with attach(model, ablate(resid_post(1), U)), attach(model, add(resid_post(1), V)):
        torch.testing.assert_close(_states(model)[2], ablated(base) + V, rtol=0, atol=1e-4)
    assert (V @ u).abs() > 0.1


@pytest.mark.parametrize("installed", ["before", "inside"])
def test_transformers_records_edited_states(any_model: Model, installed: str) -> None:
    # Its recorder is a hook that stays on the layers from the first time it is asked for.
    base = _states(tiny.model(any_model.name.removeprefix("tiny-")))
    if installed == "before":
        _states(any_model)
    inner: Plan = add(resid_post(1), V) + add(resid_post(1), U) + add(embed, V, strength=0.1)
    with attach(any_model, add(resid_post(2), V)), attach(any_model, inner):
        states = _states(any_model)
    with attach(any_model, add(embed, V, strength=0.1)):
        first = _states(any_model)
    with attach(any_model, inner):
        second = _states(any_model)
    torch.testing.assert_close(states[0], base[0] + 0.1 * V)
    assert torch.equal(states[1], first[1])
    assert torch.equal(states[2], first[2] + V + U)
    assert torch.equal(states[3], second[3] + V)
    assert all(torch.equal(a, b) for a, b in zip(_states(any_model), base, strict=True))


class _Mine:
    """A user's hook that notes the layer's output and may change it."""

    def __init__(self, change: float | None = None) -> None:
        self.seen: list[Tensor] = []
        self.change = change

    def __call__(self, _: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        self.seen.append(output)
        return None if self.change is None else output + self.change


@pytest.mark.parametrize("inside", [False, True])
def test_a_users_hook_sees_edited_states_and_stays(model: Model, inside: bool) -> None:
    layer, mine = model.hf.model.layers[1], _Mine()
    base = _states(model)[2]
    if not inside:
        handle = layer.register_forward_hook(mine)
    with attach(model, add(resid_post(1), V)), attach(model, ablate(resid_post(1), U)):
        if inside:
            handle = layer.register_forward_hook(mine)
        _logits(model)
    _logits(model)
    with attach(model, add(resid_post(1), V)):
        steered = _states(model)[2]
    assert torch.equal(steered, base + V)
    assert torch.equal(mine.seen[1], base)
    u = U / U.norm()
    assert (mine.seen[0] @ u).abs().max() < 1e-3
    assert len(mine.seen) == 3
    handle.remove()
    _logits(model)
    assert len(mine.seen) == 3


@pytest.mark.parametrize("inside", [False, True])
def test_a_users_edit_comes_after_ours(model: Model, inside: bool) -> None:
    layer, mine = model.hf.model.layers[1], _Mine(change=0.5)
    base = _states(model)[3]
    with attach(model, add(resid_post(1), V + 0.5)):
        expected = _states(model)[3]
    if not inside:
        layer.register_forward_hook(mine)
    with attach(model, add(resid_post(1), V)):
        if inside:
            layer.register_forward_hook(mine)
        torch.testing.assert_close(_states(model)[3], expected, rtol=1e-4, atol=1e-4)
        got = capture(model, BATCH, [resid_post(1), resid_pre(2)])
    assert torch.equal(got[resid_post(1)], got[resid_pre(2)])
    assert not torch.allclose(expected, base, atol=0.1)


def test_a_users_pre_hook_stays(model: Model) -> None:
    def before(_: nn.Module, args: tuple[Any, ...]) -> Any:
        return (args[0] + 0.5, *args[1:])

    with attach(model, add(resid_pre(2), V + 0.5)):
        expected = _logits(model)
    handle = model.hf.model.layers[2].register_forward_pre_hook(before)
    with attach(model, add(resid_pre(2), V)):
        torch.testing.assert_close(_logits(model), expected, rtol=1e-4, atol=1e-4)
    assert tiny.hook_count(model.hf) == 1
    handle.remove()
