"""Student's test of a paired difference."""

import numpy as np
from scipy.special import stdtr

from ._column import Column, Transform
from ._power import paired_sd

_NOISE = 1e-12  # relative; a difference below it is rounding


def paired_t(after: Column, before: Column, transform: Transform | None = None) -> float:
    """Student's two-sided p-value of no difference between two arms, for any metric.

    For plain means it is that of the paired t-test; ratios and transforms are linearised, as in
    `minimum_detectable_effect`. The arm with fewer items decides the degrees of freedom. Unlike a
    bootstrap p-value it is not bounded by a number of resamples, so that it can be corrected for
    many tests.

    Items that all change alike have no spread to hold the change against; then it is that of the
    sign test, 2^(1 - items). NaN for fewer than two items in an arm, or an infinite metric.
    """
    either = after.takes_part | before.takes_part
    after, before = after.only(either), before.only(either)
    items = int(min(after.takes_part.sum(), before.takes_part.sum()))
    if items < 2:
        return float("nan")
    ends = np.array([after.value(transform), before.value(transform)])
    if not np.isfinite(ends).all():
        return float("nan")
    gain = abs(ends[0] - ends[1])
    if gain <= _NOISE * np.abs(ends).max():
        return 1.0
    sd = paired_sd(after, before, transform)
    if sd == 0:
        return float(2.0 ** (1 - items))
    return float(2 * stdtr(items - 1, -gain / sd * np.sqrt(either.sum())))
