from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from steer.hooks import (
    Model,
    Plan,
    RunError,
    Site,
    ablate,
    add,
    affine,
    attach,
    attn_out,
    clamp,
    embed,
    final,
    heads,
    mlp_out,
    replace,
    resid_post,
    resid_pre,
    rotate,
    router,
    scale_experts,
)

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


SITE = resid_post(1)
MATRIX = (2, tiny.D_MODEL)
VECTOR = (tiny.D_MODEL,)
# What makes a plan of a strength and tensors, and the shapes of those.
EDITS: dict[str, tuple[Callable[..., Plan], tuple[tuple[int, ...], ...]]] = {
    "add": (lambda s, v: add(SITE, v, strength=s), (VECTOR,)),
    "keep": (lambda s, v: add(SITE, v, strength=s, keep_norm=True), (VECTOR,)),
    "ablate": (lambda s, v: ablate(SITE, v, strength=s), (VECTOR,)),
    "affine": (lambda s, *t: affine(SITE, *t, strength=s), (MATRIX, MATRIX, VECTOR)),
    "clamp to": (lambda s, v: clamp(SITE, v, 1.5, 1.5, strength=s), (VECTOR,)),
    "clamp above": (lambda s, v: clamp(SITE, v, low=8.0, strength=s), (VECTOR,)),
    "replace": (lambda s, v: replace(SITE, v, strength=s), (VECTOR,)),
    "rotate": (lambda s, v: rotate(SITE, v, 30.0, strength=s), (VECTOR,)),
}
every_edit = pytest.mark.parametrize("name", EDITS)


def _tensors(name: str, seed: int = 0) -> list[Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [(0.5 * torch.randn(s, generator=source)).requires_grad_() for s in EDITS[name][1]]


def _gradients(model: Model, plan: Any, wanted: list[Tensor]) -> list[Tensor]:
    with attach(model, plan):
        return list(torch.autograd.grad(_loss(model), wanted))


def _check_slope(model: Model, make: Callable[..., Plan], at: list[Tensor], n: int) -> None:
    """The gradient of `at[n]` is the slope that small steps along it show."""
    found = _gradients(model, make(*at), at)[n]
    size = found.norm()
    assert size > 0.05
    step, losses = 2e-3, []
    for sign in (1, -1):
        moved = [t.detach() for t in at]
        moved[n] = moved[n] + sign * step * found / size
        with torch.no_grad(), attach(model, make(*moved)):
            losses.append(_loss(model).double().item())
    slope = (losses[0] - losses[1]) / (2 * step)
    assert slope == pytest.approx(size.item(), rel=2e-2, abs=1e-2)


@every_edit
def test_every_tensor_and_the_strength_get_their_gradients(model: Model, name: str) -> None:
    strength = torch.tensor(0.7, requires_grad=True)
    at = [strength, *_tensors(name)]
    for n in range(len(at)):
        _check_slope(model, EDITS[name][0], at, n)


@every_edit
def test_the_strength_of_each_row_gets_its_own_gradient(model: Model, name: str) -> None:
    strengths = torch.tensor([0.7, -0.4], requires_grad=True)
    tensors = [t.detach() for t in _tensors(name)]
    (got,) = _gradients(model, EDITS[name][0](strengths, *tensors), [strengths])
    assert got.shape == (2,)
    for r, row in enumerate(ROWS):
        strength = strengths[r].detach().clone().requires_grad_()
        with attach(model, EDITS[name][0](strength, *tensors)):
            logits = model.hf(torch.tensor([row])).logits[0, -1]
            (alone,) = torch.autograd.grad(logits.log_softmax(-1)[5], strength)
        torch.testing.assert_close(got[r], alone, rtol=1e-3, atol=1e-4)
    assert got.abs().min() > 1e-3


def test_the_strength_of_a_router_gets_its_gradient() -> None:
    model = tiny.model("qwen3_moe")

    def make(strength: Tensor) -> Plan:
        return scale_experts(router(1), {0: 0.0, 1: 3.0, 2: 0.5}, strength=strength)

    _check_slope(model, make, [torch.tensor(0.7, requires_grad=True)], 0)
    both = torch.tensor([0.7, 0.7], requires_grad=True)
    one = torch.tensor(0.7, requires_grad=True)
    (each,) = _gradients(model, make(both), [both])
    (together,) = _gradients(model, make(one), [one])
    torch.testing.assert_close(each.sum(), together, rtol=1e-3, atol=1e-4)


SITES = [embed, resid_pre(1), heads(1), attn_out(1), mlp_out(1), resid_post(1), final]


@pytest.mark.parametrize("site", SITES, ids=str)
def test_the_gradient_reaches_a_vector_at_every_site(model: Model, site: Site) -> None:
    _check_slope(model, lambda v: add(site, v, keep_norm=True), _tensors("add"), 0)


def test_rows_with_plans_of_their_own_give_the_gradients_of_rows_alone(model: Model) -> None:
    names = list(EDITS)
    for first, second in zip(names, names[1:] + names[:1], strict=True):
        plans, wanted = [], []
        for r, name in enumerate((first, second)):
            tensors = _tensors(name, seed=r)
            strength = torch.tensor(0.7 - r, requires_grad=True)
            plans.append(EDITS[name][0](strength, *tensors) + add(final, tensors[-1].detach()))
            wanted.append([strength, *tensors])
        got = _gradients(model, plans, [*wanted[0], *wanted[1]])
        alone: list[Tensor] = []
        for row, plan, some in zip(ROWS, plans, wanted, strict=True):
            with attach(model, plan):
                logits = model.hf(torch.tensor([row])).logits[0, -1]
                alone += torch.autograd.grad(logits.log_softmax(-1)[5], some)
        for ours, expected in zip(got, alone, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_a_row_without_a_plan_gives_no_gradient(model: Model) -> None:
    v, w = tiny.vector().requires_grad_(), tiny.vector().requires_grad_()
    (second,) = _gradients(model, [None, add(SITE, v)], [v])
    (first,) = _gradients(model, [add(SITE, w), None], [w])
    both = tiny.vector().requires_grad_()
    (together,) = _gradients(model, add(SITE, both), [both])
    torch.testing.assert_close(first + second, together, rtol=1e-4, atol=1e-5)
    assert first.norm() > 1e-3
    assert second.norm() > 1e-3


def test_a_strength_that_is_trained_is_read_anew_in_each_pass(model: Model) -> None:
    strength = torch.tensor(0.0, requires_grad=True)
    plan = add(SITE, tiny.vector(), strength=strength)
    with attach(model, plan):
        before = _loss(model)
        before.backward()
        with torch.no_grad():
            strength += 2.0
        after = _loss(model)
    with attach(model, add(SITE, tiny.vector(), strength=2.0)):
        assert torch.equal(after, _loss(model))
    assert strength.grad is not None
    assert strength.grad.abs() > 1e-3


# Gradient checkpointing

REENTRANT = pytest.mark.parametrize("reentrant", [False, True])
FIRST = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]])
SECOND = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]])  # padded elsewhere
# Inside of what runs again; the hooks of a layer itself run around it, once.
WITHIN = [heads(2), attn_out(2), mlp_out(2)]


def _training(reentrant: bool | None) -> Model:
    """A model in training mode, with gradient checkpointing unless `reentrant` is None."""
    model = tiny.model()
    model.hf.train()
    if reentrant is not None:
        model.hf.activation_checkpointing_enable({"use_reentrant": reentrant})
        model.hf.enable_input_require_grads()
    return model


def _score(model: Model, ids: Tensor) -> Tensor:
    mask = (ids != 0).long()
    logits: Tensor = model.hf(ids, attention_mask=mask, use_cache=False).logits[:, -1]
    return logits.log_softmax(-1)[:, 5].sum()


def _trained(
    reentrant: bool | None, site: Site, run: Callable[[Model], None]
) -> tuple[Tensor, Tensor]:
    """The gradients of a vector and of the embeddings after `run`."""
    model, v = _training(reentrant), tiny.vector().requires_grad_()
    with attach(model, add(site, v, span="last", keep_norm=True) + ablate(site, tiny.vector(1))):
        run(model)
    assert v.grad is not None
    assert v.grad.norm() > 1e-3
    return v.grad, model.hf.model.embed_tokens.weight.grad


def _one_pass(model: Model) -> None:
    _score(model, FIRST).backward()


def _pass_by_pass(model: Model) -> None:
    _score(model, FIRST).backward()
    _score(model, SECOND).backward()


def _two_passes(model: Model) -> None:
    (_score(model, FIRST) + _score(model, SECOND)).backward()


def _quiet_before(model: Model) -> None:
    with torch.no_grad():
        _score(model, SECOND)
    _score(model, FIRST).backward()


def _quiet_between(model: Model) -> None:
    loss = _score(model, FIRST)
    with torch.no_grad():
        _score(model, SECOND)
    loss.backward()


@REENTRANT
@pytest.mark.parametrize("site", SITES, ids=str)
@pytest.mark.parametrize("run", [_one_pass, _pass_by_pass, _quiet_before])
def test_gradient_checkpointing_changes_no_gradient(
    run: Callable[[Model], None], site: Site, reentrant: bool
) -> None:
    expected = _trained(None, site, run)
    for got, plain in zip(_trained(reentrant, site, run), expected, strict=True):
        torch.testing.assert_close(got, plain, rtol=1e-5, atol=1e-6)


@REENTRANT
@pytest.mark.parametrize("run", [_two_passes, _quiet_between])
@pytest.mark.parametrize(
    "site", [s for s in SITES if s.kind not in ("heads", "attn_out", "mlp_out")], ids=str
)
def test_layers_may_run_again_after_another_pass_began(
    site: Site, run: Callable[[Model], None], reentrant: bool
) -> None:
    expected = _trained(None, site, run)
    for got, plain in zip(_trained(reentrant, site, run), expected, strict=True):
        torch.testing.assert_close(got, plain, rtol=1e-5, atol=1e-6)


@REENTRANT
@pytest.mark.parametrize("run", [_two_passes, _quiet_between])
@pytest.mark.parametrize("site", WITHIN, ids=str)
def test_an_edit_in_a_layer_that_runs_again_too_late_is_refused(
    site: Site, run: Callable[[Model], None], reentrant: bool
) -> None:
    message = "^attach: gradient checkpointing runs a layer again after another pass has begun"
    with pytest.raises(RunError, match=message):
        _trained(reentrant, site, run)


@REENTRANT
def test_after_a_refusal_the_next_pass_is_right(reentrant: bool) -> None:
    model, v = _training(reentrant), tiny.vector().requires_grad_()
    with attach(model, add(mlp_out(2), v)):
        with pytest.raises(RunError):
            _two_passes(model)
        v.grad = None
        _one_pass(model)
        got = v.grad
    plain, v = _training(None), tiny.vector().requires_grad_()
    with attach(plain, add(mlp_out(2), v)):
        _one_pass(plain)
    torch.testing.assert_close(got, v.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [add, ablate, replace, rotate])
def test_a_vector_that_is_trained_is_followed_by_its_plan(kind: Any) -> None:
    model = tiny.model()
    model.hf.requires_grad_(False)
    vector = torch.nn.Parameter(tiny.vector(3))
    more = (30.0,) if kind is rotate else ()
    plan = kind(resid_post(1), vector, *more)
    losses = []
    for _ in range(3):
        with attach(model, plan):
            loss = model.hf(torch.tensor([[5, 6, 7]])).logits[0, -1].log_softmax(-1)[9].neg()
        (gradient,) = torch.autograd.grad(loss, vector)
        losses.append(loss.item())
        with torch.no_grad():
            vector -= 0.5 * gradient / gradient.norm()
    assert losses[0] > losses[1] > losses[2]
    with torch.no_grad(), attach(model, kind(resid_post(1), vector.detach(), *more)):
        anew = model.hf(torch.tensor([[5, 6, 7]])).logits
    with torch.no_grad(), attach(model, plan):
        assert torch.equal(model.hf(torch.tensor([[5, 6, 7]])).logits, anew)
