"""Finds the best of many plans without measuring all of them on everything."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from steer._stats import Column, difference, holm, paired_t
from steer._tasks import Item, Metric, Result
from steer.hooks import Plan

from ._columns import transform_of
from ._grid import Grid, Point, columns, values

_BASE = Point("base", -1, 0.0)
_LEAST = 4  # plans that are never dropped


class Raced(NamedTuple):
    """What a race found.

    Attributes:
        points: each plan's `method`, `layer`, `strength`, the `items` that it was measured on, its
            mean metrics there, its paired `gain` over the unsteered model, `p`, and `p_holm`,
            corrected for all plans of the race.
        base: the unsteered model's metrics on all items.
        finished: the plans that were measured on all items.
    """

    points: list[Result]
    base: dict[str, float]
    finished: list[Result]


def race(
    grid: Grid,
    plans: Mapping[Point, Plan],
    items: Sequence[Item],
    metric: Metric,
    rungs: int,
) -> Raced:
    """Successive halving (Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943).

    All plans are measured on a part of the items, the better half of them on twice as many, and so
    on; the last ones on all.

    Args:
        grid: what measures.
        plans: what is tried.
        items: on what, in the order of the data; they are shuffled by the seed.
        metric: what decides.
        rungs: how often; 1 measures every plan on everything.
    """
    order = list(items)
    random.Random(grid.setting.seed + 3).shuffle(order)
    cuts = [0] + [max(1, len(order) >> (rungs - 1 - r)) for r in range(rungs)]
    alive: list[Point] = list(plans)
    found: dict[Point, list[Result]] = {point: [] for point in (_BASE, *alive)}
    for rung in range(rungs):
        some = order[cuts[rung] : cuts[rung + 1]]
        if not some:
            continue
        running: dict[Point, Plan | None] = {_BASE: None} | {p: plans[p] for p in alive}
        for point, results in grid.results(running, some, rung).items():
            found[point] += results
        if rung + 1 < rungs:
            alive = _better(grid, alive, found, metric)
    points = _told(grid, list(plans), found, metric)
    base = values(grid.task, found[_BASE])
    return Raced(points, base, [row for row in points if row["items"] == len(order)])


def _better(
    grid: Grid, alive: Sequence[Point], found: Mapping[Point, list[Result]], metric: Metric
) -> list[Point]:
    """The better half, in the order of the plans; of equals the first."""
    scores = {p: _score(values(grid.task, found[p]).get(metric.name), metric) for p in alive}
    count = max(min(_LEAST, len(alive)), (len(alive) + 1) // 2)
    kept = sorted(alive, key=lambda p: -scores[p])[:count]
    return [point for point in alive if point in kept]


def _score(value: float | None, metric: Metric) -> float:
    """More is better; what no item has yet is worst."""
    if value is None:
        return -math.inf
    return -value if metric.better == "lower" else value


def _told(
    grid: Grid, plans: Sequence[Point], found: Mapping[Point, list[Result]], metric: Metric
) -> list[Result]:
    rows: list[dict[str, Any]] = []
    for point in plans:
        mine = columns(grid.task, found[point])
        theirs = columns(grid.task, found[_BASE][: len(found[point])])
        told = _gain(mine.get(metric.name), theirs.get(metric.name), metric, grid.setting.seed)
        means = values(grid.task, found[point])
        rows.append(point._asdict() | {"items": len(found[point])} | means | told)
    adjusted = holm([row["p"] for row in rows])
    return [row | {"p_holm": p} for row, p in zip(rows, adjusted, strict=True)]


def _gain(
    mine: Column | None, theirs: Column | None, metric: Metric, seed: int
) -> dict[str, float]:
    """The gain with its bootstrap interval, and a p that can be corrected for many plans.

    A share's p is McNemar's. Another metric's is Student's, since the bootstrap's own is never
    below one in its resamples, which Holm's correction multiplies by the number of plans.
    """
    if mine is None or theirs is None:
        return dict.fromkeys(("gain", "low", "high", "p"), math.nan)
    transform = transform_of(metric)
    told = difference(
        mine,
        theirs,
        seed,
        proportion=metric.proportion,
        transform=transform,
        resamples=2000,
    )
    p = told.p if metric.proportion else paired_t(mine, theirs, transform)
    return {"gain": told.value, "low": told.low, "high": told.high, "p": p}
