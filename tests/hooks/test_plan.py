import copy
import dataclasses
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import onerow
import tiny
from steer.hooks import (
    LAST,
    PROMPT,
    Add,
    Intervention,
    Plan,
    PlanError,
    ablate,
    add,
    after,
    any_of,
    clamp,
    final,
    masked,
    replace,
    resid_post,
    resid_pre,
    rotate,
)


def _base() -> Plan:
    return add(resid_post(1), tiny.vector(), strength=2.0, span="prompt", keep_norm=True)


def _told(plan: Plan) -> list[tuple[str, str, str, float]]:
    return [(str(i.site), i.edit.name, str(i.span), i.strength) for i in plan]


THREE = (
    add(resid_post(2), tiny.vector(1), strength=0.5)
    + ablate(resid_pre(0), tiny.vector(2), span="last")
    + add(final, tiny.vector(3), strength=-3.0)
)


def test_a_sum_keeps_the_order() -> None:
    assert _told(THREE) == [
        ("resid_post.2", "add", "all", 0.5),
        ("resid_pre.0", "ablate", "last", 1.0),
        ("final", "add", "all", -3),
    ]
    assert len(THREE) == 3
    assert THREE.layers == (0, 2)


@pytest.mark.parametrize(
    ("change", "strengths"),
    [
        (lambda p: 2.0 * p, [1.0, 2.0, -6.0]),
        (lambda p: p * 0.5, [0.25, 0.5, -1.5]),
        (lambda p: np.float64(2) * p, [1.0, 2.0, -6.0]),
        (lambda p: -p, [-0.5, -1.0, 3.0]),
        (lambda p: p.at(0.1), [0.1, 0.1, 0.1]),
    ],
)
def test_algebra_changes_strengths_alone(
    change: Callable[[Plan], Plan], strengths: list[float]
) -> None:
    changed = change(THREE)
    assert [i.strength for i in changed] == strengths
    assert [t[:3] for t in _told(changed)] == [t[:3] for t in _told(THREE)]
    assert all(a.edit is b.edit for a, b in zip(changed, THREE, strict=True))
    assert [i.strength for i in THREE] == [0.5, 1.0, -3]


def test_on_changes_spans_alone() -> None:
    assert _told(THREE.on("prompt")) == [(s, e, "prompt", x) for s, e, _, x in _told(THREE)]
    assert [i.span for i in THREE.on(LAST)] == [LAST] * 3


def test_only_keeps_layers() -> None:
    assert _told(THREE.only(2)) == _told(THREE)[:1]
    assert _told(THREE.only([2, 0])) == _told(THREE)[:2]
    assert len(THREE.only([])) == 0
    message = r"^Plan.only: no intervention at layers \[1, 7\]; Plan\("
    with pytest.raises(PlanError, match=message):
        THREE.only([7, 2, 1])


def test_vectors_are_scaled_copies() -> None:
    vectors = THREE.vectors
    assert list(vectors) == [resid_post(2), resid_pre(0), final]
    assert torch.equal(vectors[resid_post(2)], 0.5 * tiny.vector(1))
    vectors[resid_pre(0)].zero_()
    assert torch.equal(THREE.interventions[1].edit.vector, tiny.vector(2))


def test_a_sum_keeps_the_meta_that_agrees() -> None:
    a = Plan(_base().interventions, {"method": "caa", "model": "m", "hidden_size": 32, "seed": 1})
    b = Plan(THREE.interventions, {"method": "repe", "model": "m", "hidden_size": 32, "seed": 2})
    assert dict((a + b).meta) == {"model": "m", "hidden_size": 32, "method": "caa + repe"}
    assert dict((2.0 * a).only(1).meta) == dict(a.meta)


def test_a_plan_says_what_it_does() -> None:
    assert repr(_base() + -ablate(final, tiny.vector())) == (
        "Plan(plan + plan: add 2 at resid_post.1 (prompt), ablate -1 at final (all))"
    )
    assert repr(Plan(())) == "Plan(by hand: nothing)"


CHANGES: dict[str, Callable[[], Plan]] = {
    "nothing": lambda: Plan(()),
    "site": lambda: add(resid_post(2), tiny.vector(), strength=2.0, span="prompt", keep_norm=True),
    "kind": lambda: add(resid_pre(1), tiny.vector(), strength=2.0, span="prompt", keep_norm=True),
    "norm": lambda: add(resid_post(1), tiny.vector(), strength=2.0, span="prompt"),
    "edit": lambda: ablate(resid_post(1), tiny.vector(), strength=2.0, span="prompt"),
    "span": lambda: _base().on("generated"),
    "strength": lambda: _base().at(2.0000001),
    "sign": lambda: -_base(),
    "vector": lambda: add(
        resid_post(1), tiny.vector() * (1 + 2**-23), strength=2.0, span="prompt", keep_norm=True
    ),
    "after": lambda: _base().on(after([3, 4])),
    "other marker": lambda: _base().on(after([4, 3])),
    "any": lambda: _base().on(any_of([3, 4])),
    "mask": lambda: _base().on(masked(torch.tensor([[True, False]]))),
    "other mask": lambda: _base().on(masked(torch.tensor([[False, True]]))),
    "shape of a mask": lambda: _base().on(masked(torch.tensor([[True], [False]]))),
    "rows": lambda: _base().at(torch.tensor([2.0])),
    "more rows": lambda: _base().at(torch.tensor([2.0, 2.0])),
    "replace": lambda: replace(resid_post(1), tiny.vector(), strength=2.0, span="prompt"),
    "rotate": lambda: rotate(resid_post(1), tiny.vector(), 30.0, strength=2.0, span="prompt"),
    "angle": lambda: rotate(resid_post(1), tiny.vector(), 31.0, strength=2.0, span="prompt"),
    "clamp": lambda: clamp(resid_post(1), tiny.vector(), 1.0, strength=2.0, span="prompt"),
    "bound": lambda: clamp(resid_post(1), tiny.vector(), None, 1.0, strength=2.0, span="prompt"),
    "more": lambda: _base() + THREE.only(0),
    "order": lambda: THREE.only(0) + _base(),
    "twice": lambda: _base() + _base(),
}


def test_the_hash_changes_with_everything_that_matters() -> None:
    hashes = {name: make().hash for name, make in CHANGES.items()} | {"base": _base().hash}
    assert len(set(hashes.values())) == len(CHANGES) + 1
    assert all(len(value) == 64 for value in hashes.values())


def test_the_hash_stays_with_what_does_not_matter() -> None:
    same = Plan(_base().interventions, {"method": "other", "seed": 4})
    assert same.hash == _base().hash
    assert _base().at(np.float64(2)).hash == _base().hash
    with onerow.unchecked():
        assert _base().at(2).hash == _base().hash
    assert (0.5 * (2.0 * _base())).hash == _base().hash
    learnt = add(
        resid_post(1), tiny.vector().requires_grad_(), strength=2.0, span=PROMPT, keep_norm=True
    )
    assert learnt.hash == _base().hash


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_a_plan_can_be_copied(copied: Callable[[Plan], Plan]) -> None:
    plan = Plan(THREE.interventions, {"method": "caa", "layers": [0, 2]})
    got = copied(plan)
    assert got.hash == plan.hash
    assert got.meta == plan.meta


def test_a_plan_cannot_be_changed() -> None:
    meta = {"seed": 1}
    plan = Plan(_base().interventions, meta)
    meta["seed"] = 2
    assert plan.meta == {"seed": 1}
    with pytest.raises(TypeError, match="does not support item assignment"):
        plan.meta["seed"] = 2  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError, match="interventions"):
        plan.interventions = ()  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="strength"):
        plan.interventions[0].strength = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        (math.nan, "expected a finite number, got nan"),
        (math.inf, "expected a finite number, got inf"),
        (True, "expected a number, got bool"),
        ("2", "expected a number, got str"),
        (None, "expected a number, got NoneType"),
    ],
)
def test_a_wrong_strength_is_refused(strength: Any, message: str) -> None:
    with (
        onerow.unchecked(),
        pytest.raises(PlanError, match=f"^strength at resid_post.1: {message}$"),
    ):
        Intervention(resid_post(1), Add(tiny.vector()), strength=strength)
    with onerow.unchecked(), pytest.raises(PlanError, match=f": {message}$"):
        _base().at(strength)


@pytest.mark.parametrize("other", [True, "2", None])
def test_only_numbers_scale_a_plan(other: Any) -> None:
    with (
        onerow.unchecked(),
        pytest.raises(TypeError, match=r"unsupported operand|multiply sequence"),
    ):
        _base() * other


def test_only_plans_are_added() -> None:
    with onerow.unchecked(), pytest.raises(TypeError, match="unsupported operand"):
        _base() + 1  # type: ignore[operator]


def test_an_unknown_span_is_refused() -> None:
    with pytest.raises(PlanError, match="Span: unknown span 'end'"):
        add(resid_post(1), tiny.vector(), span="end")
    with pytest.raises(PlanError, match="Span: unknown span 'end'"):
        _base().on("end")
