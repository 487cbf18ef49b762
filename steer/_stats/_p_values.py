"""McNemar's test, and Holm's correction for several tests."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from steer.hooks import DataError

from ._column import Column


def mcnemar(after: Column, before: Column) -> float:
    """McNemar's exact two-sided p-value for paired outcomes of 0 and 1.

    Only items that take part in both arms count. Under the null, each discordant pair falls either
    way with probability one half. 1 if there is no discordant pair, NaN if there is no pair.
    """
    both = after.takes_part & before.takes_part
    gains = after.values[both] - before.values[both]
    won, lost = int((gains > 0).sum()), int((gains < 0).sum())
    if not len(gains):
        return float("nan")
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, so that all may be held against one level.

    NaN stays NaN and does not count as a test. Holm, "A Simple Sequentially Rejective Multiple
    Test Procedure" (1979).

    Raises:
        DataError: A p-value is not between 0 and 1.
    """
    from statsmodels.stats.multitest import multipletests  # takes a second to import

    found = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(found)
    wrong = found[known & ~((found >= 0) & (found <= 1))]
    if len(wrong):
        raise DataError(f"holm: expected p-values from 0 to 1, or NaN, got {wrong[0]}")
    if known.any():
        found[known] = multipletests(found[known], method="holm")[1]
    return [float(p) for p in found]
