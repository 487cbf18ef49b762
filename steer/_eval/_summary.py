"""From rows to the numbers that are reported."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ._arms import Arms
from ._mc import METRICS
from ._stats import difference, estimate

Rows = Sequence[Mapping[str, Any]]


def summarise(
    rows: Rows,
    arms: Arms,
    identity: Mapping[str, Any],
    chosen: Mapping[str, Mapping[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
        rows: results of each item under each arm.
        arms: the arms by name.
        identity: what was run.
        chosen: for each method how its layer and strength were chosen, the first one's first.
        seconds: how long it took.
    """
    seed = identity["seed"]
    summary: dict[str, Any] = {
        "task": identity["task"],
        "model": identity["model"],
        "items": len(rows),
        "seconds": round(seconds, 1),
        "base": value_of(rows, "base", seed),
    }
    if "steered" in arms:
        plan = arms["steered"]
        summary["steered"] = value_of(rows, "steered", seed)
        summary["delta"] = gain_of(rows, "steered", "base", seed)
        summary["plan"] = None if plan is None else plan.hash
        others = [a for a in arms if a not in ("base", "steered") and not a.startswith("random ")]
        others += ["random"] if "random 0" in arms else []
        summary["others"] = {name: _other(rows, name, seed) for name in others}
    first = next(iter(chosen.values()), {"items": 0})
    summary["tuning"] = {k: first.get(k) for k in ("items", "pairs", "layer", "strength")}
    summary["chosen"] = {name: dict(how) for name, how in chosen.items()}
    return summary | {k: v for k, v in identity.items() if k not in summary}


def _other(rows: Rows, name: str, seed: int) -> dict[str, Any]:
    """Another arm, its gain over the base, and the gain of `steered` over it."""
    return {
        "value": value_of(rows, name, seed),
        "delta": gain_of(rows, name, "base", seed),
        "steered_over": gain_of(rows, "steered", name, seed),
    }


def column(rows: Rows, arm: str, metric: str) -> Float[np.ndarray, " items"]:
    """One metric of one arm, by item; for `random`, the mean of the random arms."""
    if arm == "random":
        names = [name for name in rows[0] if name.startswith("random ")]
        arms = np.stack([column(rows, name, metric) for name in names])
        return np.asarray(arms.mean(0))
    return np.array([row[arm][metric] for row in rows], dtype=float)


def value_of(rows: Rows, arm: str, seed: int) -> dict[str, dict[str, float | None]]:
    """Each metric of an arm, with its interval."""
    return {m: _plain(estimate(column(rows, arm, m), seed)._asdict()) for m in METRICS}


def gain_of(rows: Rows, arm: str, over: str, seed: int) -> dict[str, dict[str, float | None]]:
    """Each metric's paired gain of one arm over another, with interval and p-value."""
    return {
        m: _plain(difference(column(rows, arm, m), column(rows, over, m), seed)._asdict())
        for m in METRICS
    }


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Six digits; what cannot be known is null, as JSON has no NaN."""
    return {k: None if math.isnan(v) else float(f"{v:.6g}") for k, v in values.items()}
