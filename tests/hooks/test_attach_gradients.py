from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from steer.hooks import Model, ablate, add, attach, resid_post

ROWS = [[5, 6, 7, 8], [9, 10]]
MAKERS: dict[str, Any] = {
    "add": lambda v: add(resid_post(1), v, strength=0.5),
    "keep": lambda v: add(resid_post(1), v, keep_norm=True),
    "ablate": lambda v: ablate(resid_post(1), v, span="last"),
}


def _loss(model: Model) -> Tensor:
    logits: Tensor = model.hf(**model.batch(ROWS)).logits[:, -1]
    return logits.log_softmax(-1)[:, 5].sum()


def _slope(model: Model, kind: str, v: Tensor, along: Tensor) -> float:
    """The loss's derivative along a direction, by central differences in float64."""
    step, losses = 1e-3, []
    for sign in (1, -1):
        with torch.no_grad(), attach(model, MAKERS[kind](v + sign * step * along)):
            losses.append(_loss(model).double().item())
    return (losses[0] - losses[1]) / (2 * step)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_gradient_reaches_the_vector(model: Model, kind: str) -> None:
    v = tiny.vector().requires_grad_()
    with attach(model, MAKERS[kind](v)):
        _loss(model).backward()
        once = v.grad.clone()
        _loss(model).backward()
    torch.testing.assert_close(v.grad, 2 * once)
    along = once / once.norm()
    assert once.norm() > 1e-3
    assert _slope(model, kind, v.detach(), along) == pytest.approx(once.norm().item(), rel=2e-2)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_gradient_reaches_the_model_through_a_fixed_plan(model: Model, kind: str) -> None:
    with attach(model, MAKERS[kind](tiny.vector())):
        for _ in range(2):
            model.hf.zero_grad()
            _loss(model).backward()
            grad = model.hf.model.embed_tokens.weight.grad
            assert (grad[[5, 6, 7, 8, 9, 10]].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("kind", MAKERS)
def test_training_may_follow_inference_mode(model: Model, kind: str) -> None:
    with attach(model, MAKERS[kind](tiny.vector())):
        with torch.inference_mode():
            quiet = _loss(model).clone()
        loud = _loss(model)
        loud.backward()
    assert torch.equal(quiet, loud.detach())
    assert model.hf.model.embed_tokens.weight.grad[5].abs().sum() > 0


def test_a_plan_made_in_inference_mode_can_be_trained_through(model: Model) -> None:
    with torch.inference_mode():
        plan = ablate(resid_post(1), tiny.vector()) + add(resid_post(2), tiny.vector())
    with attach(model, plan):
        _loss(model).backward()
    assert model.hf.model.embed_tokens.weight.grad[5].abs().sum() > 0


def test_padding_gets_no_gradient_through_the_plan(model: Model) -> None:
    # The steered loss of the padded batch pulls at the vector as much as its rows do alone.
    v = tiny.vector().requires_grad_()
    with attach(model, MAKERS["add"](v)):
        _loss(model).backward()
        padded, v.grad = v.grad.clone(), None
        for row in ROWS:
            logits = model.hf(torch.tensor([row])).logits[:, -1]
            logits.log_softmax(-1)[:, 5].sum().backward()
    torch.testing.assert_close(padded, v.grad, rtol=1e-4, atol=1e-5)
