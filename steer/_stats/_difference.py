"""A metric's difference between two arms, in pairs."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from steer.hooks import DataError

from ._bootstrap import RESAMPLES, expanded_p, percentile_interval, resampled_ratios
from ._column import Column, Transform, transformed
from ._estimate import check_proportion
from ._p_values import mcnemar
from ._power import minimum_detectable_effect, paired_sd

_NOISE = 1e-12  # relative; a resampled difference below it is 0 but for rounding


class Difference(NamedTuple):
    """A paired difference with its 95 % interval; numbers that cannot be known are NaN."""

    value: float
    low: float
    high: float

    p: float
    """Two-sided, of no difference."""

    mde: float
    """The difference that this many items with this spread would show with 80 % power at p 0.05."""


def difference(
    after: Column,
    before: Column,
    seed: int,
    *,
    proportion: bool = False,
    transform: Transform | None = None,
    resamples: int = RESAMPLES,
) -> Difference:
    """The metric `after` less the metric `before`, with items bootstrapped in pairs.

    Both arms are measured on the same resampled items, drawn from those that take part in either;
    each item counts in each arm by its own weight there. The arm with fewer items decides how far
    the interval is widened. The p-value is McNemar's exact one for a proportion; otherwise it is
    the bootstrap's own, from the smaller share of resampled differences on either side of 0,
    expanded as the interval is.

    Raises:
        DataError: The arms do not have the same items; or a proportion has a transform, or values
            or weights that are not 0 or 1.
    """
    _check(after, before, proportion, transform)
    either = after.takes_part | before.takes_part
    after, before = after.only(either), before.only(either)
    value = after.value(transform) - before.value(transform)
    items = int(min(after.takes_part.sum(), before.takes_part.sum()))
    paired = mcnemar(after, before) if proportion else float("nan")
    if items < 2:
        return Difference(value, float("nan"), float("nan"), paired, float("nan"))
    ratios = resampled_ratios([after, before], seed, resamples)
    gains = _gains(transformed(ratios, transform))
    low, high = percentile_interval(gains, items)
    p = paired if proportion else _tail(gains, items)
    mde = minimum_detectable_effect(paired_sd(after, before, transform), int(either.sum()))
    return Difference(value, low, high, p, mde)


def _check(after: Column, before: Column, proportion: bool, transform: Transform | None) -> None:
    if len(after.weights) != len(before.weights):
        raise DataError(
            f"difference: got {len(after.weights)} items after and {len(before.weights)} before; "
            "give both arms the same items, with None where one has no value"
        )
    if proportion:
        check_proportion(after, transform)
        check_proportion(before, transform)


def _gains(metrics: Float[ndarray, "resamples 2"]) -> Float[ndarray, " resamples"]:
    """Differences between the arms, with 0 where they differ by rounding alone.

    The arms are summed apart, and a tie that rounding breaks would count on one side of 0 only.
    """
    with np.errstate(invalid="ignore"):
        gains = metrics[:, 0] - metrics[:, 1]
        tied = np.isfinite(gains) & (np.abs(gains) <= _NOISE * np.abs(metrics).max(axis=1))
    return np.where(tied, 0.0, gains)


def _tail(gains: Float[ndarray, " resamples"], items: int) -> float:
    known = gains[np.isfinite(gains)]
    if 2 * len(known) < len(gains):
        return float("nan")
    side = min((known <= 0).sum(), (known >= 0).sum())
    # One is added to both so that a finite number of resamples never claims p = 0.
    return expanded_p((side + 1) / (len(known) + 1), items)
