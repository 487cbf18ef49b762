"""The metrics of every arm, from the rows of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from steer._stats import Column, Transform, mean_of
from steer._tasks import Metric

Columns = dict[tuple[str, str], Column]
"""By arm and metric."""


def columns_of(
    rows: Iterable[Mapping[str, Any]], arms: Sequence[str], metrics: Sequence[Metric]
) -> Columns:
    """Every metric under every arm, in one reading; `random` is the mean of the random arms.

    A metric that no item has is left out.
    """
    wanted = [(arm, metric) for arm in arms for metric in metrics]
    values: list[list[float | None]] = [[] for _ in wanted]
    weights: list[list[float]] = [[] for _ in wanted]
    for row in rows:
        for n, (arm, metric) in enumerate(wanted):
            result = row[arm]
            values[n].append(result.get(metric.value or metric.name))
            weights[n].append(float(result[metric.weight]) if metric.weight else 1.0)
    found = {
        (arm, metric.name): Column.of(values[n], weights[n])
        for n, (arm, metric) in enumerate(wanted)
    }
    known = [m for m in metrics if any(found[arm, m.name].takes_part.any() for arm in arms)]
    found = {(a, m.name): found[a, m.name] for a in arms for m in known}
    randoms = [arm for arm in arms if arm.startswith("random ")]
    if randoms:
        found |= {
            ("random", m.name): mean_of([found[arm, m.name] for arm in randoms]) for m in known
        }
    return found


def in_both(metric: Metric, after: Column, before: Column) -> tuple[Column, Column]:
    """Both columns on the items that have a value under both arms.

    A verdict may be missing in one arm; then the item is no pair. Weights of their own, as in an
    F1, say themselves what takes part.
    """
    if metric.weight is not None:
        return after, before
    both = after.takes_part & before.takes_part
    return after.only(both), before.only(both)


def transform_of(metric: Metric) -> Transform | None:
    """What makes the metric of its mean."""
    return np.exp if metric.exponential else None
