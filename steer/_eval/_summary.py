"""From rows to the numbers that are reported."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steer._judges import agreement
from steer._stats import difference, estimate
from steer._tasks import Metric, Task

from ._columns import Columns, columns_of, in_both, transform_of
from ._rows import Rows
from ._run import Part

Numbers = dict[str, dict[str, float | None]]
"""For each metric its value and what is known of it."""


def summarise(
    rows: Rows,
    task: Task,
    parts: Sequence[Part],
    identity: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
        rows: results of each item under each arm.
        task: what was measured.
        parts: the arms, and how their plans were chosen; several for cross-validation.
        identity: what was run.
        seconds: how long it took.
    """
    arms = parts[0].arms
    columns = columns_of(rows, list(arms), task.metrics)
    metrics = [m for m in task.metrics if ("base", m.name) in columns]
    tell = _Telling(columns, metrics, identity["seed"])
    summary: dict[str, Any] = {
        "task": task.name,
        "model": identity["model"],
        "items": len(rows),
        "seconds": round(seconds, 1),
        "metrics": [{"name": m.name, "about": m.about, "better": m.better} for m in metrics],
        "base": tell.value("base"),
    }
    if "steered" in arms:
        hashes = [plan.hash for part in parts if (plan := part.arms["steered"]) is not None]
        summary["steered"] = tell.value("steered")
        summary["delta"] = tell.gain("steered", "base")
        summary["plan"] = hashes[0] if len(parts) == 1 else hashes
        summary["others"] = {name: tell.other(name) for name in _others(list(arms))}
        summary["absent_controls"] = _absent(arms)
    summary["tuning"] = _tuning(parts)
    summary["chosen"] = _chosen(parts)
    if task.question is not None:
        summary["agreement"] = _agreement(rows, list(arms))
    summary["notes"] = sorted({str(row["note"]) for row in rows if "note" in row})
    summary["examples"] = _examples(rows, "steered" in arms)
    return summary | {k: v for k, v in identity.items() if k not in summary}


class _Telling:
    """Estimates from columns."""

    def __init__(self, columns: Columns, metrics: Sequence[Metric], seed: int) -> None:
        self._columns, self._metrics, self._seed = columns, metrics, seed

    def value(self, arm: str) -> Numbers:
        """Each metric of an arm, with its interval."""
        found = {}
        for m in self._metrics:
            # The mean of several random arms is no proportion of items any more.
            proportion = m.proportion and arm != "random"
            column = self._columns[arm, m.name]
            told = estimate(column, self._seed, proportion=proportion, transform=transform_of(m))
            # How many items have a value: a judge may not have said, or the item not ask for it.
            found[m.name] = _plain(told._asdict()) | {"items": int(column.takes_part.sum())}
        return found

    def gain(self, arm: str, over: str) -> Numbers:
        """Each metric's paired gain of one arm over another, with interval and p-value."""
        found = {}
        for m in self._metrics:
            proportion = m.proportion and "random" not in (arm, over)
            after, before = in_both(m, self._columns[arm, m.name], self._columns[over, m.name])
            told = difference(
                after, before, self._seed, proportion=proportion, transform=transform_of(m)
            )
            found[m.name] = _plain(told._asdict())
        return found

    def other(self, name: str) -> dict[str, Any]:
        """Another arm, its gain over the base, and the gain of `steered` over it."""
        return {
            "value": self.value(name),
            "delta": self.gain(name, "base"),
            "steered_over": self.gain("steered", name),
        }


def _others(arms: Sequence[str]) -> list[str]:
    others = [a for a in arms if a not in ("base", "steered") and not a.startswith("random ")]
    return others + (["random"] if "random 0" in arms else [])


def _absent(arms: Mapping[str, Any]) -> list[str]:
    """The controls that a gain was not held against."""
    absent = [] if "random 0" in arms else ["random vectors"]
    absent += [] if "flipped" in arms else ["the flipped vector"]
    return absent + ([] if "shuffled" in arms else ["shuffled pair labels"])


def _tuning(parts: Sequence[Part]) -> dict[str, Any]:
    """How the plan that is reported first was chosen, a list where each fold has its own."""
    names = ("items", "pairs", "layer", "strength")
    firsts = [next(iter(part.chosen.values()), {"items": 0}) for part in parts]
    if len(firsts) == 1:
        return {name: firsts[0].get(name) for name in names}
    return {name: [first.get(name) for first in firsts] for name in names}


def _chosen(parts: Sequence[Part]) -> dict[str, Any]:
    many = len(parts) > 1
    return {
        f"{method}, fold {n}" if many else method: _known(how)
        for n, part in enumerate(parts)
        for method, how in part.chosen.items()
    }


def _known(how: Mapping[str, Any]) -> dict[str, Any]:
    """The same with null for numbers of the grid that cannot be known."""
    if "grid" not in how:
        return dict(how)
    return dict(how) | {
        "grid": [
            {
                k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in row.items()
            }
            for row in how["grid"]
        ]
    }


def _agreement(rows: Rows, arms: Sequence[str]) -> dict[str, Any]:
    """How far the judges agree on the answers of all arms together."""
    said: dict[str, list[float | None]] = {}
    for row in rows:
        for arm in arms:
            for judge, value in row[arm].get("judged", {}).items():
                said.setdefault(judge, []).append(value)
    return agreement(said) if len(said) > 1 else {}


def _examples(rows: Rows, steered: bool, count: int = 5) -> list[dict[str, str]]:
    """A few answers side by side, those first where they differ."""
    found: list[dict[str, str]] = []
    same: list[dict[str, str]] = []
    for row in rows:
        if "answer" not in row["base"] or len(found) == count:
            break
        base = row["base"]["answer"]
        example = {"question": row["prompt"], "base": base}
        if steered:
            example["steered"] = row["steered"]["answer"]
        differs = steered and example["steered"] != base
        (found if differs else same).append(example)
        del same[count:]
    return (found + same)[:count]


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Six digits; what cannot be known is null, as JSON has no NaN."""
    return {k: float(f"{v:.6g}") if math.isfinite(v) else None for k, v in values.items()}
