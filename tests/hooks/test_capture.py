from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
from steer.hooks import (
    Model,
    Site,
    SiteError,
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

BATCH = {"input_ids": torch.tensor([[5, 6, 7], [8, 9, 10]])}


def _states(model: Model) -> tuple[Tensor, ...]:
    states: tuple[Tensor, ...] = model.hf(**BATCH, output_hidden_states=True).hidden_states
    return states


def test_states_are_those_of_transformers(any_model: Model) -> None:
    states = _states(any_model)
    got = capture(any_model, BATCH, [final, resid_post(0), resid_pre(2), resid_post(0)])
    assert list(got) == [final, resid_post(0), resid_pre(2)]  # in the order asked for
    assert torch.equal(got[final], states[-1])
    assert torch.equal(got[resid_post(0)], states[1])
    assert torch.equal(got[resid_pre(2)], states[2])


def _watch_calls(model: Model) -> Counter[str]:
    """Counts calls of each forward itself, whatever hooks there are."""
    calls: Counter[str] = Counter()
    parts: dict[str, nn.Module] = {"head": model.hf.lm_head, "norm": model.hf.model.norm}
    for number, layer in enumerate(model.hf.model.layers):
        parts |= {f"layer {number}": layer, f"attn {number}": layer.self_attn}
        parts |= {f"mlp {number}": layer.mlp}
    for name, module in parts.items():

        def forward(*args: Any, _inner: Any = module.forward, _name: str = name, **kw: Any) -> Any:
            calls[_name] += 1
            return _inner(*args, **kw)

        module.forward = forward
    return calls


def _layers(*numbers: int) -> set[str]:
    return {f"{part} {n}" for n in numbers for part in ("layer", "attn", "mlp")}


STOPS: dict[Site, set[str]] = {
    embed: set(),
    resid_pre(0): set(),
    resid_pre(2): _layers(0, 1),
    attn_out(1): _layers(0) | {"layer 1", "attn 1"},
    mlp_out(1): _layers(0, 1),
    resid_post(1): _layers(0, 1),
    resid_post(3): _layers(0, 1, 2, 3),
    final: _layers(0, 1, 2, 3) | {"norm"},
}


@pytest.mark.parametrize("site", STOPS, ids=str)
@pytest.mark.parametrize("given_embeddings", [False, True])
def test_the_pass_stops_at_the_last_site(model: Model, site: Site, given_embeddings: bool) -> None:
    inputs = BATCH
    if given_embeddings:
        inputs = {"inputs_embeds": model.hf.model.embed_tokens(BATCH["input_ids"])}
    calls = _watch_calls(model)
    capture(model, inputs, [embed, site])
    assert set(calls) == STOPS[site]
    assert set(calls.values()) <= {1}
    model.hf(**BATCH)
    assert calls["head"] == 1  # the count works


def test_the_pass_goes_on_to_the_furthest_site(model: Model) -> None:
    calls = _watch_calls(model)
    capture(model, BATCH, [resid_post(2), embed, resid_pre(1)])
    assert set(calls) == _layers(0, 1, 2)


@pytest.mark.parametrize("site", [embed, resid_pre(1), resid_post(1), attn_out(1), final], ids=str)
def test_attached_plans_apply(any_model: Model, site: Site) -> None:
    base = capture(any_model, BATCH, [site])[site]
    with attach(any_model, add(site, tiny.vector(), strength=0.5)):
        steered = capture(any_model, BATCH, [site])[site]
    assert torch.equal(steered, base + 0.5 * tiny.vector())
    assert tiny.hook_count(any_model.hf) == 0


def test_later_states_follow_an_attached_plan(model: Model) -> None:
    with attach(model, add(resid_post(0), tiny.vector())):
        states = _states(model)
        got = capture(model, BATCH, [resid_post(2), final])
    assert torch.equal(got[resid_post(2)], states[3])
    assert torch.equal(got[final], states[-1])


def test_gradients_flow_if_they_are_on(model: Model) -> None:
    assert capture(model, BATCH, [resid_post(1)])[resid_post(1)].requires_grad
    with torch.no_grad():
        assert not capture(model, BATCH, [resid_post(1)])[resid_post(1)].requires_grad


@pytest.mark.parametrize("sites", [[embed], [resid_post(1)], [final], [resid_pre(0), mlp_out(3)]])
def test_a_capture_leaves_the_model_as_it_was(model: Model, sites: list[Site]) -> None:
    before = _states(tiny.model())
    capture(model, BATCH, sites)
    assert tiny.hook_count(model.hf) == 0
    assert all(torch.equal(a, b) for a, b in zip(_states(model), before, strict=True))


def test_an_error_leaves_no_hook(model: Model) -> None:
    with pytest.raises(SiteError, match=r"^site resid_post.4: the model has 4 layers"):
        capture(model, BATCH, [resid_post(1), resid_post(4)])
    with pytest.raises(ValueError, match="specify exactly one of input_ids or inputs_embeds"):
        capture(model, {}, [resid_post(1)])
    with pytest.raises(IndexError, match="out of range"):
        capture(model, {"input_ids": torch.tensor([[999]])}, [embed, resid_post(1), final])
    assert tiny.hook_count(model.hf) == 0


def test_no_sites_are_refused(model: Model) -> None:
    message = "^capture: no sites given; name at least one, such as resid_post.14.$"
    with pytest.raises(SiteError, match=message):
        capture(model, BATCH, [])
