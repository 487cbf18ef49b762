"""A summary as a table for people."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ._arms import RANDOMS
from ._mc import METRICS


class Line(NamedTuple):
    """One arm of a summary, as text."""

    arm: str
    cells: tuple[str, ...]


def header() -> list[str]:
    """Names of the columns."""
    return ["arm", *(c for m in METRICS for c in (m.upper(), f"{m.upper()} - base", "p"))]


def lines(summary: Mapping[str, Any]) -> Iterator[Line]:
    """The arms in the order in which they are reported."""
    yield Line("base", _cells(summary["base"], None))
    if "steered" not in summary:
        return
    names = summary["methods"]
    first = f"{names[0]} (steered)" if names else "steered"
    yield Line(first, _cells(summary["steered"], summary["delta"]))
    for name, other in summary["others"].items():
        yield Line(_label(name), _cells(other["value"], other["delta"]))


def over_header() -> list[str]:
    """Names of the columns of `over_lines`."""
    return ["steered over", *(c for m in METRICS for c in (f"{m.upper()} gain", "p"))]


def over_lines(summary: Mapping[str, Any]) -> Iterator[Line]:
    """The paired gain of the steered model over every other arm."""
    if "steered" not in summary:
        return
    gains = {"base": summary["delta"]}
    gains |= {name: other["steered_over"] for name, other in summary["others"].items()}
    for name, gain in gains.items():
        yield Line(_label(name), tuple(cell for m in METRICS for cell in _delta(gain[m])))


def _label(name: str) -> str:
    return f"random (mean of {RANDOMS})" if name == "random" else name


def _cells(values: Mapping[str, Any], deltas: Mapping[str, Any] | None) -> tuple[str, ...]:
    cells: list[str] = []
    for metric in METRICS:
        cells.append(interval(values[metric], signed=False))
        cells += ["", ""] if deltas is None else _delta(deltas[metric])
    return tuple(cells)


def _delta(delta: Mapping[str, Any]) -> list[str]:
    p = delta["p"]
    small = p is not None and p < 0.001
    return [interval(delta, signed=True), "" if p is None else "<0.001" if small else f"{p:.3f}"]


def interval(estimate: Mapping[str, Any], *, signed: bool) -> str:
    """`0.250 [0.190, 0.310]`."""
    form = "+.3f" if signed else ".3f"
    value, low, high = (estimate[k] for k in ("value", "low", "high"))
    if low is None:
        return f"{value:{form}}"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
