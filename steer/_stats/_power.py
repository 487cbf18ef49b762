"""How small an effect an experiment of this size can see."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import stdtrit

from ._column import Column, Transform, transformed

_NOISE = 1e-12  # relative; below it a spread is rounding


def minimum_detectable_effect(
    sd: float, items: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The true mean paired difference that a two-sided test finds with this power.

    (t_{1 - alpha/2} + t_{power}) sd / sqrt(n), with n - 1 degrees of freedom. `sd` is that of the
    items' differences. NaN if it cannot be known: for fewer than two items, and for a spread that
    is unknown or 0, since items that all changed alike do not say how much others would.
    """
    if items < 2 or not np.isfinite(sd) or sd <= 0:
        return float("nan")
    quantiles = stdtrit(items - 1, 1 - alpha / 2) + stdtrit(items - 1, power)
    return float(quantiles * sd / np.sqrt(items))


def paired_sd(after: Column, before: Column, transform: Transform | None) -> float:
    """The standard deviation of what each item contributes to `after - before`.

    The contributions are linearised, so that the standard error of the difference is this over
    sqrt(n) for ratios and transforms too. For plain means they are the items' differences.
    """
    arms = [_influence(column, transform) for column in (after, before)]
    with np.errstate(invalid="ignore"):
        sd = float(np.std(arms[0] - arms[1], ddof=1))
    size = max(_size(column, transform) for column in (after, before))
    return 0.0 if sd <= _NOISE * size else sd


def _influence(column: Column, transform: Transform | None) -> Float[ndarray, " items"]:
    """How the metric f(r) moves with each item: f'(r) w (v - r) / mean(w)."""
    ratio = column.value()
    with np.errstate(invalid="ignore"):
        moves = column.products - column.weights * ratio
    return np.asarray(_slope(ratio, transform) / column.weights.mean() * moves)


def _size(column: Column, transform: Transform | None) -> float:
    """The size of the numbers that `_influence` subtracts from one another."""
    largest = np.abs(column.products).max() / column.weights.mean()
    return float(abs(_slope(column.value(), transform)) * largest)


def _slope(ratio: float, transform: Transform | None) -> float:
    """The transform's derivative, by central differences so that any smooth transform will do."""
    if transform is None:
        return 1.0
    step = 1e-6 * max(1.0, abs(ratio))
    with np.errstate(invalid="ignore"):
        above, below = transformed(np.array([ratio + step, ratio - step]), transform)
        return float((above - below) / (2 * step))
