from math import isnan, nan

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from steer._stats import Column, Estimate, estimate, wilson
from steer.hooks import DataError


@pytest.mark.parametrize(
    ("successes", "items", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(
    successes: int, items: int, low: float, high: float
) -> None:
    found = wilson(successes, items)
    assert found == pytest.approx((successes / items, low, high), abs=5e-5)
    theirs = proportion_confint(successes, items, method="wilson")
    assert found[1:] == pytest.approx(theirs, abs=1e-12)


def test_wilson_of_nothing_is_unknown() -> None:
    assert all(isnan(x) for x in wilson(0, 0))


@pytest.mark.parametrize("successes", [-1, 4])
def test_wilson_refuses_what_is_no_share(successes: int) -> None:
    with pytest.raises(DataError, match=f"expected 0 to 3 successes of 3, got {successes}"):
        wilson(successes, 3)


def test_a_proportion_has_wilsons_interval() -> None:
    outcomes = Column.of([1.0] * 15 + [0.0] * 133 + [None] * 9)
    assert estimate(outcomes, seed=0, proportion=True) == wilson(15, 148)
    everything = estimate(Column.of([1.0] * 20), seed=0, proportion=True)
    assert everything == pytest.approx((1.0, 1 - 0.1611, 1.0), abs=5e-5)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column.of([0.5, 1.0]), "values of 0 and 1, got 0.5"),
        (Column.of([0.0, 1.0], [1, 2]), "weights of 0 and 1, got 2.0"),
    ],
)
def test_what_is_no_proportion_is_refused(column: Column, message: str) -> None:
    with pytest.raises(DataError, match=message):
        estimate(column, seed=0, proportion=True)


def test_a_proportion_has_no_transform() -> None:
    with pytest.raises(DataError, match="no transform"):
        estimate(Column.of([0.0, 1.0]), seed=0, proportion=True, transform=np.exp)


def test_a_transform_moves_the_bounds_with_the_value() -> None:
    # The exponential is increasing, so that percentiles go with it, but for the mean of two
    # neighbours among 10,000 resamples.
    nll = Column.of(np.random.default_rng(0).normal(2.0, 0.5, size=60).tolist(), [7.0] * 60)
    plain, perplexity = estimate(nll, seed=4), estimate(nll, seed=4, transform=np.exp)
    assert perplexity == pytest.approx(tuple(np.exp(plain)), rel=1e-4)


def test_items_that_take_no_part_have_no_say() -> None:
    numbers = np.random.default_rng(1).normal(size=20).tolist()
    among = [x for number in numbers for x in (None, number)]
    assert estimate(Column.of(among), seed=0) == estimate(Column.of(numbers), seed=0)


def test_only_the_proportion_of_weights_counts() -> None:
    numbers = np.random.default_rng(2).normal(size=20).tolist()
    weights = np.arange(1.0, 21.0)
    once, thrice = (Column.of(numbers, (k * weights).tolist()) for k in (1, 3))
    assert estimate(thrice, seed=0) == pytest.approx(estimate(once, seed=0))
    assert estimate(once, seed=0) != pytest.approx(estimate(Column.of(numbers), seed=0))


def test_the_interval_of_f1_holds_what_resamples_give() -> None:
    # F1 of resampled labels, by counting: an independent path to the same distribution.
    rng = np.random.default_rng(3)
    told, true = rng.random(120) < 0.5, rng.random(120) < 0.4
    weights = 1.0 * told + 1.0 * true
    column = Column.of(np.where(told & true, 1.0, 0.0).tolist(), weights.tolist())
    scores = []
    for _ in range(4000):
        drawn = rng.integers(120, size=120)
        hits = (told & true)[drawn].sum()
        scores.append(2 * hits / (told[drawn].sum() + true[drawn].sum()))
    value, low, high = estimate(column, seed=0)
    assert value == pytest.approx(2 * (told & true).sum() / (told.sum() + true.sum()))
    # A bound has a standard error of about 0.05 standard deviations, and is expanded by as much.
    slack = 0.3 * np.std(scores)
    assert (low, high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=slack)


@pytest.mark.parametrize("values", [[0.25], [0.25, None], [None, nan, 0.25]])
def test_a_single_item_has_no_interval(values: list[float | None]) -> None:
    value, low, high = estimate(Column.of(values), seed=0)
    assert value == 0.25
    assert isnan(low)
    assert isnan(high)


def test_no_item_has_no_value() -> None:
    for proportion in (False, True):
        found = estimate(Column.of([None, None]), seed=0, proportion=proportion)
        assert all(isnan(x) for x in found)


def test_an_infinite_item_has_no_interval() -> None:
    value, low, high = estimate(Column.of([1.0, np.inf, 2.0]), seed=0)
    assert value == np.inf
    assert isnan(low)
    assert isnan(high)
    overflown = estimate(Column.of([1e4, 2e4]), seed=0, transform=np.exp)
    assert overflown.value == np.inf
    assert isnan(overflown.low)


def test_items_that_are_all_alike_have_no_width() -> None:
    assert estimate(Column.of([0.5] * 4), seed=0) == Estimate(0.5, 0.5, 0.5)
