from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from steer._stats import Column, difference, estimate, mcnemar
from steer.hooks import DataError


def paired(*pairs: tuple[float, float, int]) -> tuple[Column, Column]:
    """Columns after and before, from a pair of values and how many items have it."""
    counts = [count for _, _, count in pairs]
    after = np.repeat([after for after, _, _ in pairs], counts)
    before = np.repeat([before for _, before, _ in pairs], counts)
    return Column.of(after.tolist()), Column.of(before.tolist())


def test_differences_are_resampled_in_pairs() -> None:
    """Items differ widely, but each gains one half: the mean gain is certain."""
    before = [0.0, 10.0, 20.0, 30.0, 40.0]
    _, low, high = estimate(Column.of(before), seed=0)
    assert high - low > 10
    after = Column.of([value + 0.5 for value in before])
    found = difference(after, Column.of(before), seed=0)
    assert found[:3] == pytest.approx((0.5, 0.5, 0.5))
    # No resample falls to zero or below, yet the share is never 0 but (0 + 1) / (10,000 + 1).
    quantile = np.sqrt(4 / 5) * stats.norm.ppf(1 / 10_001)
    assert found.p == pytest.approx(2 * stats.t(4).cdf(quantile))


def test_perplexity_that_grows_by_a_factor() -> None:
    # Every item's likelihood falls by the same factor per token, so the ratio of perplexities is
    # certain but their difference goes with the perplexity of the resample.
    before = Column.of(np.random.default_rng(0).normal(2, 0.3, size=50).tolist(), [9.0] * 50)
    after = Column(before.values + np.log(1.5), before.weights)
    found = difference(after, before, seed=1, transform=np.exp)
    plain = estimate(before, seed=1, transform=np.exp)
    assert found[:3] == pytest.approx(tuple(0.5 * x for x in plain))


def test_the_bootstrap_p_value_counts_the_smaller_side() -> None:
    # Gains 0.5, 0.5, -0.25: a resampled mean is at most 0 if two of three draws are the last:
    # 3 (1/3)^2 (2/3) + (1/3)^3 = 7/27, where Phi^-1 is -0.6456. Times sqrt(2/3) it is t = -0.5271,
    # and p = 1 - |t| / sqrt(2 + t^2), Student's at 2 degrees; 0.02 is five standard errors.
    found = difference(*paired((0.5, 0, 2), (0, 0.25, 1)), seed=0)
    assert found.value == pytest.approx(0.25)
    assert found.p == pytest.approx(0.6508, abs=0.02)


def test_a_tie_counts_on_both_sides() -> None:
    # One item gains 0.1 and one loses it, about 0.7 and 0.3: half of all resamples are ties, which
    # rounding breaks. P(gain <= 0) = 3/4, so that p is 1 rather than the 1/2 of broken ties.
    after, before = paired((0.7 + 0.1, 0.7, 1), (0.3 - 0.1, 0.3, 1))
    assert difference(after, before, seed=0).p == 1.0


@pytest.mark.parametrize("gains", [[0.0, 0.0, 0.0], [0.5, -0.5]])
def test_no_gain_has_p_one(gains: list[float]) -> None:
    before = Column.of([0.3] * len(gains))
    after = Column.of([0.3 + gain for gain in gains])
    assert difference(after, before, seed=0).p == 1.0


def test_equal_arms_differ_by_nothing() -> None:
    arm = Column.of(np.random.default_rng(0).normal(size=9).tolist())
    found = difference(arm, arm, seed=0)
    assert found[:4] == (0.0, 0.0, 0.0, 1.0)
    assert isnan(found.mde)


def test_proportions_are_tested_by_mcnemar() -> None:
    after, before = paired((1, 1, 3), (1, 0, 8), (0, 1, 2), (0, 0, 7))
    found = difference(after, before, seed=0, proportion=True)
    assert found.p == mcnemar(after, before) == pytest.approx(0.109375)
    assert found.value == pytest.approx(6 / 20)
    assert difference(after, before, seed=0).p != found.p
    assert difference(after, before, seed=0)[:3] == found[:3]


def test_each_arm_has_the_items_that_take_part_in_it() -> None:
    # One item of four has no answer after, and another none before.
    after, before = Column.of([1.0, 1.0, None, 0.0]), Column.of([0.0, None, 1.0, 1.0])
    found = difference(after, before, seed=0)
    assert found.value == pytest.approx(2 / 3 - 2 / 3)
    assert found.low < 0 < found.high


def test_items_in_neither_arm_have_no_say() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 20)).tolist()
    among = [[x for value in arm for x in (None, value)] for arm in values]
    few = difference(Column.of(values[0]), Column.of(values[1]), seed=0)
    many = difference(Column.of(among[0]), Column.of(among[1]), seed=0)
    assert few == many


def test_the_arm_with_fewer_items_decides_how_far_the_interval_is_widened() -> None:
    # Three of 40 items are known before. Resamples without any of them are undefined and left out;
    # at three items the interval reaches the extremes, where t at 40 would leave some room.
    rng = np.random.default_rng(0)
    after = Column.of(rng.normal(size=40).tolist())
    before = Column.of([1.0, 2.0, 6.0] + [None] * 37)
    _, low, high, p, _ = difference(after, before, seed=0, resamples=2000)
    assert low < -6
    assert high > -1
    assert 0 < p < 1


def test_arms_swapped_change_the_sign() -> None:
    rng = np.random.default_rng(5)
    arms = [
        Column(rng.normal(size=30), rng.integers(0, 5, size=30).astype(float)) for _ in range(2)
    ]
    there, back = difference(*arms, seed=0), difference(*arms[::-1], seed=0)
    assert there == pytest.approx((-back.value, -back.high, -back.low, back.p, back.mde))


@pytest.mark.parametrize("before", [[0.25, None, None], [0.25, None, 0.5], [None, 0.5, 0.5]])
def test_a_single_item_after_has_no_interval(before: list[float | None]) -> None:
    after = Column.of([0.75, None, None])
    found = difference(after, Column.of(before), seed=0)
    assert found.value == pytest.approx(0.75 - np.mean([x for x in before if x is not None]))
    assert all(isnan(x) for x in found[1:])


def test_a_single_pair_of_outcomes_has_mcnemars_p() -> None:
    found = difference(Column.of([1.0]), Column.of([0.0]), seed=0, proportion=True)
    assert (found.value, found.p) == (1.0, 1.0)
    assert isnan(found.low)


def test_an_arm_without_items_is_unknown() -> None:
    found = difference(Column.of([1.0, 0.0]), Column.of([None, nan]), seed=0)
    assert all(isnan(x) for x in found)


@pytest.mark.parametrize("values", [[1.0, 2.0, np.inf], [1.0, 2.0, 1e4]])
def test_an_infinite_arm_has_no_interval(values: list[float]) -> None:
    found = difference(Column.of(values), Column.of([1.0, 2.0, 3.0]), seed=0, transform=np.exp)
    assert found.value == np.inf
    assert all(isnan(x) for x in found[1:])


def test_arms_of_other_items_are_refused() -> None:
    with pytest.raises(DataError, match="got 1 items after and 2 before"):
        difference(Column.of([1.0]), Column.of([1.0, 2.0]), seed=0)


@pytest.mark.parametrize("arms", [([0.5, 1.0], [0.0, 1.0]), ([0.0, 1.0], [0.5, 1.0])])
def test_both_arms_of_a_proportion_are_checked(arms: tuple[list[float], list[float]]) -> None:
    with pytest.raises(DataError, match="values of 0 and 1, got 0.5"):
        difference(Column.of(arms[0]), Column.of(arms[1]), seed=0, proportion=True)
