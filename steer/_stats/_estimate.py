"""A metric under one arm with its interval."""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from steer.hooks import DataError

from ._bootstrap import RESAMPLES, percentile_interval, resampled_ratios
from ._column import Column, Transform, transformed


class Estimate(NamedTuple):
    """A value with its 95 % interval; the bounds are NaN if they cannot be known."""

    value: float
    low: float
    high: float


def estimate(
    column: Column,
    seed: int,
    *,
    proportion: bool = False,
    transform: Transform | None = None,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The metric with Wilson's interval if it is a proportion, else with a bootstrap interval.

    The bootstrap draws items with replacement from those that take part, so that items which do
    not have no say in the result. The value is NaN if none does.

    Raises:
        DataError: A proportion with a transform, or with values or weights that are not 0 or 1.
    """
    if proportion:
        check_proportion(column, transform)
        return wilson(int(column.products.sum()), int(column.weights.sum()))
    column = column.only(column.takes_part)
    value, items = column.value(transform), len(column.weights)
    if items < 2:
        return Estimate(value, float("nan"), float("nan"))
    resampled = transformed(resampled_ratios([column], seed, resamples)[:, 0], transform)
    return Estimate(value, *percentile_interval(resampled, items))


def check_proportion(column: Column, transform: Transform | None) -> None:
    """Refuse what is not a plain share of items.

    Raises:
        DataError: There is a transform, or a value or weight is not 0 or 1.
    """
    if transform is not None:
        raise DataError("a proportion has no transform; leave out one of the two")
    for name, numbers in (("value", column.values[column.takes_part]), ("weight", column.weights)):
        wrong = numbers[~np.isin(numbers, (0.0, 1.0))]
        if len(wrong):
            raise DataError(
                f"a proportion has {name}s of 0 and 1, got {wrong[0]}; use proportion=False"
            )


def wilson(successes: int, items: int) -> Estimate:
    """The share of successes with Wilson's score interval, all NaN for no items.

    Unlike the bootstrap it has width when no item or every item is a success. Wilson, "Probable
    Inference, the Law of Succession, and Statistical Inference" (1927); no continuity correction.

    Raises:
        DataError: The successes do not number 0 to `items`.
    """
    if not 0 <= successes <= items:
        raise DataError(f"wilson: expected 0 to {items} successes of {items}, got {successes}")
    if not items:
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = binomtest(successes, items).proportion_ci(method="wilson")
    return Estimate(successes / items, float(low), float(high))
