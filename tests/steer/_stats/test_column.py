from math import isnan, nan

import numpy as np
import pytest

from steer._stats import Column, estimate, mean_of
from steer.hooks import DataError


def test_what_is_unknown_takes_no_part() -> None:
    column = Column.of([1.0, None, nan, 4], [2, 3, 5, 1])
    assert column.values.tolist() == [1, 0, 0, 4]
    assert column.weights.tolist() == [2, 0, 0, 1]
    assert column.takes_part.tolist() == [True, False, False, True]
    assert column.value() == 2.0  # (2 * 1 + 1 * 4) / 3


def test_weights_are_one_unless_given() -> None:
    column = Column.of([True, False, None, 1.0])
    assert column.weights.tolist() == [1, 1, 0, 1]
    assert column.value() == pytest.approx(2 / 3)


def test_a_value_without_weight_may_be_anything() -> None:
    column = Column(np.array([np.inf, np.nan, 3.0]), np.array([0.0, 0.0, 2.0]))
    assert column.products.tolist() == [0, 0, 6]
    assert column.value() == 3.0


def test_f1_is_a_ratio_of_sums() -> None:
    # 3 TP, 1 FP, 2 FN, 4 TN: F1 = 2 * 3 / (2 * 3 + 1 + 2).
    values = [1.0] * 3 + [0.0] * 7
    weights = [2.0] * 3 + [1.0] * 3 + [0.0] * 4
    assert Column.of(values, weights).value() == pytest.approx(6 / 9)


def test_perplexity_weighs_items_by_tokens() -> None:
    # 10 tokens at perplexity 2 and 30 at 16: 2^((10 * 1 + 30 * 4) / 40).
    column = Column.of([np.log(2), np.log(16)], [10, 30])
    assert column.value(np.exp) == pytest.approx(2**3.25)


@pytest.mark.parametrize("values", [[], [None, nan]])
def test_a_metric_of_no_item_is_unknown(values: list[float | None]) -> None:
    assert isnan(Column.of(values).value())
    assert isnan(Column.of(values).value(np.exp))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "got 2 values and 1 weights"),
        ([1.0, -0.5], "got the weight -0.5; weights are finite and at least 0"),
        ([nan, 1.0], "got the weight nan"),
        ([1.0, np.inf], "got the weight inf"),
    ],
)
def test_wrong_weights_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Column.of([1.0, 2.0], weights)


def test_the_mean_of_arms_is_that_of_each_item() -> None:
    mean = mean_of([Column.of([1.0, 0.0, None]), Column.of([0.0, 0.5, None])])
    assert mean.values.tolist() == [0.5, 0.25, 0]
    assert mean.weights.tolist() == [1, 1, 0]


def test_the_mean_of_arms_has_the_ratio_of_the_pooled_arms() -> None:
    # By item: (2 * 1 + 4 * 7) / 6 = 5 of weight 3, and 4 of weight 1/2, as one arm lacks it.
    arms = [Column.of([1.0, 4.0], [2, 1]), Column.of([7.0, None], [4, 9])]
    mean = mean_of(arms)
    assert mean.values.tolist() == [5, 4]
    assert mean.weights.tolist() == [3, 0.5]
    pooled = Column.of([1.0, 4.0, 7.0], [2, 1, 4])
    assert mean.value() == pytest.approx(pooled.value())


def test_three_equal_arms_are_as_certain_as_one() -> None:
    arm = Column.of([*np.random.default_rng(0).normal(size=40).tolist(), None])
    assert estimate(mean_of([arm] * 3), seed=0) == pytest.approx(estimate(arm, seed=0))


@pytest.mark.parametrize("columns", [[], [Column.of([1.0]), Column.of([1.0, 2.0])]])
def test_arms_without_common_items_have_no_mean(columns: list[Column]) -> None:
    with pytest.raises(DataError, match=f"mean_of: got {len(columns)} columns"):
        mean_of(columns)
