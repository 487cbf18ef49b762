from collections.abc import Mapping
from typing import Any

import pytest
import torch

import onerow
from steer.hooks import PlanError, ScaleExperts

# Two tokens a row; zero where the router did not choose the expert.
WEIGHTS = torch.tensor([[[0.5, 0.0, 0.25, 0.25], [0.0, 0.75, 0.25, 0.0]]])
EVERY = torch.ones(1, 2, 1).bool()


@pytest.mark.parametrize(
    ("factors", "strength", "expected"),
    [
        ({2: 4.0}, 1.0, [[0.5, 0.0, 1.0, 0.25], [0.0, 0.75, 1.0, 0.0]]),
        ({2: 4.0}, 0.5, [[0.5, 0.0, 0.625, 0.25], [0.0, 0.75, 0.625, 0.0]]),
        ({0: 0.0, 1: 2.0}, 1.0, [[0.0, 0.0, 0.25, 0.25], [0.0, 1.5, 0.25, 0.0]]),
        ({3: 3.0}, -1.0, [[0.5, 0.0, 0.25, -0.25], [0.0, 0.75, 0.25, 0.0]]),
        ({1: 2.0}, 0.0, WEIGHTS[0].tolist()),
    ],
)
def test_the_weights_are_multiplied_by_hand(
    factors: Mapping[int, float], strength: float, expected: list[list[float]]
) -> None:
    got = ScaleExperts.bind([ScaleExperts(factors)], [strength], WEIGHTS)(WEIGHTS, EVERY)
    assert got.tolist() == [expected]


def test_only_chosen_tokens_and_each_row_with_its_own_factors() -> None:
    edits = [ScaleExperts({0: 2.0}), ScaleExperts({2: 8.0, 1: 0.0})]
    weights = WEIGHTS.expand(2, 2, 4)
    chosen = torch.tensor([[[True], [True]], [[False], [True]]])
    got = ScaleExperts.bind(edits, [1.0, 0.5], weights)(weights, chosen)
    assert got.tolist() == [
        [[1.0, 0.0, 0.25, 0.25], [0.0, 0.75, 0.25, 0.0]],
        [[0.5, 0.0, 0.25, 0.25], [0.0, 0.375, 1.125, 0.0]],
    ]


def test_the_dtype_of_the_weights_is_kept() -> None:
    weights = WEIGHTS.bfloat16()
    got = ScaleExperts.bind([ScaleExperts({2: 1.1})], [1.0], weights)(weights, EVERY)
    assert got.dtype == torch.bfloat16
    assert got[0, 0, 2].item() == torch.tensor(0.25 * 1.1).bfloat16().item()


def test_the_order_and_the_callers_mapping_do_not_matter() -> None:
    mine = {3: 2.0, 1: 0.5}
    edit = ScaleExperts(mine)
    mine[0] = 9.0
    assert edit.factors == {1: 0.5, 3: 2.0}
    assert edit.tensors["experts"].tolist() == [1, 3]
    assert edit.tensors["factors"].tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({}, "no experts given; name one, such as {12: 64.0}"),
        ({-1: 2.0}, "expected expert indices from 0, got -1"),
        ({True: 2.0}, "expected expert indices from 0, got True"),
        ({1.0: 2.0}, "expected expert indices from 0, got 1.0"),
        ({1: "2"}, "expected a number for 1, got '2'"),
        ({1: False}, "expected a number for 1, got False"),
        ({1: float("nan")}, "expected a finite factor, got nan"),
        ({1: float("inf")}, "expected a finite factor, got inf"),
    ],
)
def test_wrong_factors_are_refused(factors: Any, message: str) -> None:
    with onerow.unchecked(), pytest.raises(PlanError, match=f"^ScaleExperts: {message}$"):
        ScaleExperts(factors)
