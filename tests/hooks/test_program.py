"""Which steps the plans of a batch become."""

from collections.abc import Sequence

import pytest
import torch

import tiny
from steer.hooks import (
    Plan,
    PlanError,
    ablate,
    add,
    clamp,
    embed,
    resid_post,
    resid_pre,
    rotate,
)
from steer.hooks._program import Step, program, spread

SITE = resid_post(1)
V = [tiny.vector(n, 4) for n in range(4)]
ADD, OTHER, KEEP = add(SITE, V[0]), add(SITE, V[1], span="last"), add(SITE, V[2], keep_norm=True)
ABLATE = ablate(SITE, V[3])


def _told(plans: Sequence[Plan | None]) -> list[list[str | None]]:
    """The steps at the site, and in each the edits of the rows."""
    return [[i and i.edit.name for i in step.items] for step in program(plans).get(SITE, [])]


@pytest.mark.parametrize(
    ("plans", "steps"),
    [
        ([ADD], [["add"]]),
        ([ADD + ABLATE], [["add"], ["ablate"]]),
        ([ADD, OTHER], [["add", "add"]]),
        ([ADD, None, OTHER], [["add", None, "add"]]),
        ([ADD, ABLATE], [["add", None], [None, "ablate"]]),
        ([ADD, KEEP], [["add", None], [None, "add"]]),
        ([ADD + OTHER, KEEP + ADD], [["add", None], [None, "add"], ["add", "add"]]),
        ([ADD + ABLATE, ADD], [["add", "add"], ["ablate", None]]),
        ([ADD, OTHER + OTHER + ADD], [["add", "add"], [None, "add"], [None, "add"]]),
        ([ADD * 0.0 + ABLATE, ABLATE], [["ablate", "ablate"]]),
        ([0.0 * ADD, None], []),
        ([None], []),
        ([Plan(()), add(embed, V[0])], []),
    ],
)
def test_the_edits_of_rows_share_steps(
    plans: list[Plan | None], steps: list[list[str | None]]
) -> None:
    assert _told(plans) == steps


@pytest.mark.parametrize(
    ("one", "two", "steps"),
    [
        (clamp(SITE, V[0], 1.0), clamp(SITE, V[1], 1.0), 1),
        (clamp(SITE, V[0], 1.0), clamp(SITE, V[0], 2.0), 2),
        (clamp(SITE, V[0], 1.0), clamp(SITE, V[0], high=1.0), 2),
        (rotate(SITE, V[0], 30.0), rotate(SITE, V[1], 30.0, strength=4.0), 1),
        (rotate(SITE, V[0], 30.0), rotate(SITE, V[0], 31.0), 2),
    ],
)
def test_only_edits_with_equal_options_share_a_step(one: Plan, two: Plan, steps: int) -> None:
    assert len(program([one, two])[SITE]) == steps


def test_a_row_keeps_the_order_of_its_interventions() -> None:
    rows: list[Plan | None] = [ADD + ABLATE + KEEP, ABLATE + ADD, KEEP + ABLATE + ADD + ABLATE]
    steps = program(rows)[SITE]
    for r, plan in enumerate(rows):
        assert plan is not None
        own = [item for step in steps if (item := step.items[r])]
        assert [item.edit for item in own] == [item.edit for item in plan]


def test_each_site_has_steps_of_its_own() -> None:
    first = add(resid_pre(0), V[0]) + ADD + add(embed, V[1])
    sites = program([first, add(embed, V[2])])
    assert list(sites) == [resid_pre(0), SITE, embed]
    (step,) = sites[embed]
    assert [item and item.edit for item in step.items] == [
        first.interventions[2].edit,
        step.items[1] and step.items[1].edit,
    ]
    assert all(item is None for item in sites[SITE][0].items[1:])


def test_a_step_edits_each_row_with_its_own_and_leaves_those_without() -> None:
    (step,) = program([2.0 * ADD, None, -1.0 * OTHER])[SITE]
    states = torch.zeros(3, 2, 4)
    chosen = torch.tensor([[[True], [False]], [[False], [False]], [[True], [True]]])
    assert [str(span) if span else None for span in step.spans] == ["all", None, "last"]
    expected = torch.stack([torch.stack([2 * V[0], 0 * V[0]]), states[1], -V[1].expand(2, 4)])
    assert torch.equal(step.bind(states)(states, chosen), expected)


def test_strengths_of_rows_become_plans_of_rows() -> None:
    plan = add(SITE, V[0], strength=torch.tensor([1.0, -2.0, 0.5])) + 3.0 * ABLATE
    rows = spread([plan])
    strengths = [[float(item.strength) for item in row or ()] for row in rows]
    assert strengths == [[1.0, 3.0], [-2.0, 3.0], [0.5, 3.0]]
    first, second = program([plan])[SITE]
    assert [item is not None for item in first.items + second.items] == [True] * 6
    states = torch.zeros(3, 1, 4)
    got = first.bind(states)(states, torch.ones(3, 1, 1).bool())
    assert torch.equal(got, torch.stack([V[0], -2 * V[0], 0.5 * V[0]]).unsqueeze(1))


def test_plans_without_them_stay() -> None:
    plans = [ADD, None, 0.5 * ABLATE]
    assert spread(plans) == plans
    assert len(spread([add(SITE, V[0], strength=torch.tensor(2.0))])) == 1


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        ([ADD.at(torch.ones(2)), None], "strengths for 2 rows in 2 plans; give one plan whose"),
        ([ADD.at(torch.ones(2)) + ADD.at(torch.ones(3))], "strengths for 2, 3 rows in 1 plans"),
    ],
)
def test_strengths_that_do_not_fit_are_refused(plans: list[Plan | None], message: str) -> None:
    with pytest.raises(PlanError, match=f"^attach: {message}"):
        program(plans)


def test_a_step_trains_if_a_tensor_of_it_does() -> None:
    def trains(*plans: Plan | None) -> list[bool]:
        return [step.trains for step in program(plans)[SITE]]

    learnt = add(SITE, V[0].clone().requires_grad_())
    strength = ADD.at(torch.ones(2, requires_grad=True))
    assert trains(None, ADD) == trains(ADD.at(torch.ones(2))) == [False]
    assert trains(None, learnt) == trains(ADD, learnt) == trains(strength) == [True]
    assert trains(ADD + ABLATE.at(torch.ones((), requires_grad=True))) == [False, True]


def test_a_step_bound_in_inference_mode_can_be_differentiated_later() -> None:
    (step,) = program([KEEP])[SITE]
    with torch.inference_mode():
        bound = step.bind(torch.zeros(1, 1, 4))
    states = torch.ones(1, 1, 4, requires_grad=True)
    bound(states, torch.ones(1, 1, 1).bool()).sum().backward()
    assert states.grad is not None
    assert states.grad.abs().max() > 0
    assert isinstance(step, Step)
