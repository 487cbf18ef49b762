"""Strengths as tensors, and which edit belongs at which site."""

from collections.abc import Callable

import pytest
import torch

import onerow
import tiny
from steer.hooks import (
    Add,
    Intervention,
    Plan,
    PlanError,
    ScaleExperts,
    Site,
    ablate,
    add,
    affine,
    clamp,
    heads,
    replace,
    resid_post,
    rotate,
    router,
    scale_experts,
)

V = tiny.vector()
ROWS = add(resid_post(1), V, strength=torch.tensor([1.0, 2.0, -4.0])) + ablate(resid_post(2), V)


def test_algebra_works_on_strengths_of_rows() -> None:
    (a, b), (c, d) = 0.5 * ROWS, -ROWS
    assert (torch.as_tensor(a.strength).tolist(), b.strength) == ([0.5, 1.0, -2.0], 0.5)
    assert (torch.as_tensor(c.strength).tolist(), d.strength) == ([-1.0, -2.0, 4.0], -1.0)
    assert [i.rows for i in ROWS] == [3, None]


@pytest.mark.parametrize("change", [lambda p, s: p * s, lambda p, s: p.at(s)])
def test_a_tensor_scales_a_plan_with_its_gradient(change: Callable[..., Plan]) -> None:
    strength = torch.tensor([3.0, 0.5], requires_grad=True)
    (item,) = change(add(resid_post(1), V), strength)
    scaled = torch.as_tensor(item.strength)
    assert scaled.tolist() == [3.0, 0.5]
    (grad,) = torch.autograd.grad(scaled.sum(), strength)
    assert grad.tolist() == [1.0, 1.0]
    assert item.row(1).rows is None
    assert float(torch.as_tensor(item.row(1).strength).detach()) == 0.5


def test_strengths_of_rows_are_shown() -> None:
    assert repr(ROWS) == (
        "Plan(plan + plan: add [1.0, 2.0, -4.0] at resid_post.1 (all), "
        "ablate 1 at resid_post.2 (all))"
    )


def test_zero_is_nothing_unless_it_is_trained() -> None:
    trained = torch.tensor(0.0, requires_grad=True)
    plans = [add(resid_post(1), V, strength=s) for s in (0.0, torch.tensor(0.0), trained)]
    assert [item.does_nothing for item in sum(plans)] == [True, True, False]


def test_a_strength_is_not_the_callers() -> None:
    strengths = torch.tensor([1.0, 2.0])
    plan = add(resid_post(1), V, strength=strengths)
    before = plan.hash
    strengths[0] = 9.0
    assert plan.hash == before
    assert plan.interventions[0].strength.tolist() == [1.0, 2.0]  # type: ignore[union-attr]


def test_plans_are_subtracted_divided_and_summed() -> None:
    a, b = add(resid_post(1), V, strength=2.0), ablate(resid_post(2), V)
    assert (a - b).hash == (a + -1.0 * b).hash
    assert (a / 4.0).hash == a.at(0.5).hash
    assert sum([a, b]).hash == (a + b).hash
    with pytest.raises(TypeError):
        1 + a


def test_there_is_no_single_vector_for_strengths_of_rows() -> None:
    with pytest.raises(PlanError, match=r"^Plan.vectors: no single vector at resid_post.1; Plan"):
        _ = ROWS.vectors
    with pytest.raises(PlanError, match=r"^Plan.vectors: no single vector at resid_post.1; Plan"):
        _ = (add(resid_post(1), V) + add(resid_post(1), V)).vectors


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        (torch.ones(2, 1), r"got torch.float32 of shape \(2, 1\)"),
        (torch.ones(0), r"got torch.float32 of shape \(0,\)"),
        (torch.tensor([1, 2]), r"got torch.int64 of shape \(2,\)"),
        (torch.tensor([1.0, float("nan")]), r"expected finite numbers, got \[1.0, nan\]"),
    ],
)
def test_a_wrong_tensor_is_refused(strength: torch.Tensor, message: str) -> None:
    with pytest.raises(PlanError, match=f"^strength at resid_post.1: .*{message}$"):
        add(resid_post(1), V, strength=strength)


@pytest.mark.parametrize(
    ("site", "edit", "said"),
    [
        (router(1), Add(V), "add at router.1"),
        (resid_post(1), ScaleExperts({1: 2.0}), "scale_experts at resid_post.1"),
    ],
)
def test_routing_weights_have_an_edit_of_their_own(site: Site, edit: object, said: str) -> None:
    with pytest.raises(PlanError, match=f"^{said}: routing weights are edited by scale_experts at"):
        Intervention(site, edit)  # type: ignore[arg-type]


@pytest.mark.parametrize("site", [heads(2), resid_post(2)])
def test_a_matrix_is_no_vector(site: Site) -> None:
    message = r"^Add: expected a vector of shape \(d_model,\), got \(4, 8\)$"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        add(site, V.view(4, 8))  # by head or across them, it would be flattened without a word


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (affine(heads(0), V.view(2, 16), V.view(2, 16), strength=2.0), ("heads.0", "affine", {})),
        (clamp(heads(0), V, 1.0, strength=2.0), ("heads.0", "clamp", {"low": 1.0, "high": None})),
        (replace(heads(0), V, strength=2.0), ("heads.0", "replace", {})),
        (rotate(heads(0), V, 9.0, strength=2.0), ("heads.0", "rotate", {"degrees": 9.0})),
        (scale_experts(router(0), {1: 2.0}, strength=2.0), ("router.0", "scale_experts", {})),
    ],
)
def test_a_plan_is_described(plan: Plan, told: tuple[str, str, dict[str, object]]) -> None:
    site, edit, options = told
    assert [i.describe() for i in plan.on("~last")] == [
        {"site": site, "edit": edit, "options": options, "span": "~last", "strength": 2.0}
    ]


@pytest.mark.parametrize("site", [1, "resid_post.1", None])
def test_what_is_no_site_is_refused(site: object) -> None:
    message = r"^add: expected a site such as resid_post\(14\), got "
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        add(site, V)  # type: ignore[arg-type]
