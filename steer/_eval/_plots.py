"""Plots of summaries and sweeps as SVG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

INK, ACCENT, FAINT = "#334155", "#c2410c", "#94a3b8"


def arms_plot(summary: Mapping[str, Any], count: int = 3) -> Figure:
    """The first metrics of each arm, with their intervals; empty if no item has a metric."""
    arms = {"base": summary["base"]}
    if "steered" in summary:
        arms["steered"] = summary["steered"]
        arms |= {name: other["value"] for name, other in summary["others"].items()}
    metrics = [metric["name"] for metric in summary["metrics"][:count]]
    figure = Figure(figsize=(9, 0.45 * len(arms) + 1), layout="constrained")
    if not metrics:
        return figure
    axes = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axis, metric in zip(axes, metrics, strict=True):
        _dots(axis, [values[metric] for values in arms.values()])
        axis.set_yticks(range(len(arms)), list(arms))
        axis.set_title(f"{metric}, 95 % interval")
    axes[0].invert_yaxis()
    return figure


def _dots(axis: Any, values: Sequence[Mapping[str, float | None]]) -> None:
    for row, estimate in enumerate(values):
        value, low, high = (estimate[k] for k in ("value", "low", "high"))
        colour = ACCENT if row == 1 else INK
        if low is not None:
            axis.plot([low, high], [row, row], color=colour, linewidth=2)
        if value is not None:
            axis.plot(value, row, "o", color=colour)
    if values[0]["value"] is not None:
        axis.axvline(values[0]["value"], color=FAINT, linestyle=":", linewidth=1)
    axis.spines[["top", "right"]].set_visible(False)


def heat_map(points: Sequence[Mapping[str, Any]], metric: str, base: float | None) -> Figure:
    """A metric over layers and strengths, one map for each method; grey was not measured."""
    methods = list(dict.fromkeys(point["method"] for point in points))
    layers = sorted({point["layer"] for point in points})
    strengths = sorted({point["strength"] for point in points})
    size = (1.2 + 3.2 * len(methods), 1 + 0.4 * len(layers))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    values = [point[metric] for point in points if point.get(metric) is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    image = None
    for axis, method in zip(axes, methods, strict=True):
        grid = np.full((len(layers), len(strengths)), np.nan)
        for point in points:
            if point["method"] == method and point.get(metric) is not None:
                where = layers.index(point["layer"]), strengths.index(point["strength"])
                grid[where] = point[metric]
        image = axis.imshow(grid, aspect="auto", origin="lower", vmin=low, vmax=high)
        axis.set_facecolor("#e2e8f0")
        axis.set_xticks(range(len(strengths)), [f"{s:g}" for s in strengths])
        axis.set_yticks(range(len(layers)), [str(layer) for layer in layers])
        axis.set_xlabel("strength")
        axis.set_title(method)
    axes[0].set_ylabel("layer")
    label = metric if base is None else f"{metric} (base {base:.3g})"
    if image is not None:
        figure.colorbar(image, ax=list(axes), label=label)
    return figure


def trade_off(
    points: Sequence[Mapping[str, Any]], metric: str, side: str, best: Mapping[str, Any] | None
) -> Figure:
    """Effect against side effect, a dot for each plan that was tried."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axis = figure.subplots()
    shown = [p for p in points if p.get(metric) is not None and p.get(side) is not None]
    for n, method in enumerate(dict.fromkeys(point["method"] for point in shown)):
        some = [point for point in shown if point["method"] == method]
        axis.scatter([p[side] for p in some], [p[metric] for p in some], label=method, c=f"C{n}")
        for point in some:
            text = f"{point['layer']}, {point['strength']:g}"
            at = (point[side], point[metric])
            axis.annotate(text, at, xytext=(3, 3), textcoords="offset points", fontsize=6)
    if best is not None and best.get(side) is not None:
        axis.scatter([best[side]], [best[metric]], s=160, facecolors="none", edgecolors=ACCENT)
    if shown:
        axis.legend()
    axis.set_xlabel(side)
    axis.set_ylabel(metric)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def svg(figure: Figure) -> str:
    """The figure as an element of a page."""
    out = io.StringIO()
    # The salt makes names of parts depend on what they show, not on chance.
    with rc_context({"svg.hashsalt": "steer"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
