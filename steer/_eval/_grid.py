"""Scores plans at many layers and strengths on tuning items, resumably."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from steer._stats import Column
from steer._tasks import Item, Metric, Result, Setting, Task
from steer.hooks import DataError, Plan, RunError, track

from ._columns import columns_of, transform_of
from ._log import Log, drop_others, every_log, own_log
from ._share import Share


class Point(NamedTuple):
    """One plan that is tried."""

    method: str
    layer: int
    strength: float


class Grid(NamedTuple):
    """What measures points.

    Attributes:
        task: what is measured.
        setting: the model.
        log: where results are kept as they are made, so that an interrupted grid goes on.
        share: the share of this process.
    """

    task: Task
    setting: Setting
    log: Path | None
    share: Share

    def results(
        self, plans: Mapping[Point, Plan | None], items: Sequence[Item], rung: int = 0
    ) -> dict[Point, list[Result]]:
        """The metrics of each item at each point.

        Args:
            plans: what is tried.
            items: on what.
            rung: a number for these items; what the log holds of it is not measured again.
        """
        kept, done = self._kept(rung)
        todo = self.share.of([point for point in plans if point not in done])
        what = f"tuning on {len(items)} items"
        show = self.setting.progress and self.share.first
        new = []
        with self.share.alone():
            for point in track(todo, what, total=len(todo), show=show):
                results = self._measured(plans[point], items)
                new.append(point._asdict() | {"rung": rung, "results": results})
                if kept is not None:
                    kept.append(new[-1:])
        everyone = self.share.all(new)
        self.share.once(lambda: self._join(kept))
        done |= {_point(row): row["results"] for row in everyone}
        return {point: done[point] for point in plans}

    def _kept(self, rung: int) -> tuple[Log | None, dict[Point, list[Result]]]:
        """The log of this process, and what all logs hold of a rung."""
        if self.log is None:
            return None, {}
        with self.share.alone():
            kept = Log(own_log(self.log, self.share.rank))
        done: dict[Point, list[Result]] = {}
        for path in every_log(self.log):
            try:
                rows = (row for row in Log(path) if row["rung"] == rung)
                done |= {_point(row): row["results"] for row in rows}
            except (KeyError, TypeError, ValueError) as error:
                raise RunError(
                    f"{path} is damaged ({type(error).__name__}: {error}); choose another --out"
                ) from error
        self.share.wait()  # nobody writes while somebody reads
        return kept, done

    def _measured(self, plan: Plan | None, items: Sequence[Item]) -> list[Result]:
        """A few items at a time, so that only their numbers stay in memory."""
        found = []
        for at in range(0, len(items), self.task.chunk):
            some = list(items[at : at + self.task.chunk])
            for result in self.task.measure(self.setting, some, {"tried": plan})["tried"]:
                found.append(_numbers(self.task.metrics, result))
        return found

    def _join(self, kept: Log | None) -> None:
        """Move what the logs of the other processes hold to the log of the first.

        They hold more than was measured now if a run of several processes was killed.
        """
        if self.log is None or kept is None or not (others := every_log(self.log)[1:]):
            return
        known = {(_point(row), row["rung"]) for row in kept}
        for path in others:
            missing = {(_point(row), row["rung"]): row for row in Log(path)}
            kept.append([row for key, row in missing.items() if key not in known])
            known |= missing.keys()
        drop_others(self.log)

    def means(self, plans: Mapping[Point, Plan | None], items: Sequence[Item]) -> list[Result]:
        """Each point with the task's metrics, in the order of the points."""
        found = self.results(plans, items)
        return [point._asdict() | values(self.task, found[point]) for point in found]


def _point(row: Mapping[str, Any]) -> Point:
    return Point(str(row["method"]), int(row["layer"]), float(row["strength"]))


def _numbers(metrics: Sequence[Metric], result: Result) -> Result:
    """The values and weights of a result, without what only readers need."""
    names = {m.value or m.name for m in metrics} | {m.weight for m in metrics if m.weight}
    return {name: result.get(name) for name in sorted(names)}


def columns(task: Task, results: Sequence[Result]) -> dict[str, Column]:
    """Each metric of one point over its items."""
    found = columns_of([{"tried": result} for result in results], ["tried"], task.metrics)
    return {name: column for (_, name), column in found.items()}


def values(task: Task, results: Sequence[Result]) -> dict[str, float]:
    """The same as numbers."""
    found = columns(task, results)
    return {m.name: found[m.name].value(transform_of(m)) for m in task.metrics if m.name in found}


def best_of(points: Sequence[Result], metric: Metric) -> Result:
    """The best point; of equals the first.

    Raises:
        DataError: if no item has the metric at some point.
    """
    for row in points:
        if metric.name not in row:
            raise DataError(f"tuning: no item has {metric.name} under {row}; choose another metric")
    sign = -1 if metric.better == "lower" else 1
    return max(points, key=lambda row: sign * float(row[metric.name]))
