"""Intervals and tests for paired results: every item is measured under each arm."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import binomtest

RESAMPLES = 10_000
_CHUNK = 4_000_000  # indices drawn at a time, which bounds memory


class Estimate(NamedTuple):
    """A value with its 95 % interval; the interval is NaN if it cannot be known."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A mean paired difference with its 95 % interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def resampled_means(
    values: Float[ndarray, "items columns"], seed: int, resamples: int = RESAMPLES
) -> Float[ndarray, "resamples columns"]:
    """Bootstrap means of columns that share their items, so that pairing is kept."""
    count = len(values)
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // count)
    means = []
    for start in range(0, resamples, step):
        size = (min(step, resamples - start), count)
        counts = _times_drawn(rng.integers(count, size=size, dtype=np.int32), count)
        means.append(counts @ values / count)
    return np.concatenate(means)


def _times_drawn(
    draws: Int[ndarray, "resamples items"], count: int
) -> Float[ndarray, "resamples items"]:
    """How often each item was drawn in each resample."""
    offsets = np.arange(len(draws), dtype=np.int64)[:, None] * count
    flat = np.bincount((draws + offsets).ravel(), minlength=len(draws) * count)
    return flat.reshape(len(draws), count).astype(np.float64)


def estimate(values: Float[ndarray, " items"], seed: int) -> Estimate:
    """The mean with its percentile bootstrap interval; NaN bounds for a single item."""
    if len(values) < 2:
        return Estimate(float(np.mean(values)), float("nan"), float("nan"))
    means = resampled_means(values[:, None], seed)[:, 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))


def difference(
    after: Float[ndarray, " items"], before: Float[ndarray, " items"], seed: int
) -> Difference:
    """The mean of `after - before` over items, bootstrapped in pairs.

    For outcomes of 0 and 1 the p-value is McNemar's exact test; otherwise it is the bootstrap's
    own, twice the smaller share of resampled means on either side of zero.
    """
    gain = after - before
    value, low, high = estimate(gain, seed)
    binary = bool(np.isin(np.concatenate([after, before]), (0.0, 1.0)).all())
    return Difference(value, low, high, mcnemar(after, before) if binary else _tail(gain, seed))


def mcnemar(after: Float[ndarray, " items"], before: Float[ndarray, " items"]) -> float:
    """McNemar's exact two-sided p-value for paired outcomes of 0 and 1.

    Under the null, each discordant pair falls either way with probability one half. 1 if there is
    no discordant pair.
    """
    won = int(((after == 1) & (before == 0)).sum())
    lost = int(((after == 0) & (before == 1)).sum())
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def _tail(gain: Float[ndarray, " items"], seed: int) -> float:
    if len(gain) < 2:
        return float("nan")
    if not gain.any():
        return 1.0
    means = resampled_means(gain[:, None], seed)[:, 0]
    side = min((means <= 0).sum(), (means >= 0).sum())
    # One is added to both so that a finite number of resamples never claims p = 0.
    return float(min(1.0, 2 * (side + 1) / (len(means) + 1)))
