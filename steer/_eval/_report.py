"""A summary as one self-contained HTML page; every text in it is escaped."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from steer._files import write_text

from ._mc import METRICS
from ._table import header, lines, over_header, over_lines

_PAGES = Environment(
    loader=PackageLoader("steer", "_templates"), autoescape=True, undefined=StrictUndefined
)


def html(summary: Mapping[str, Any], command: str | None = None) -> str:
    """The report of a run.

    Args:
        summary: what `summary.json` holds.
        command: the command that gives the same numbers.
    """
    page = _PAGES.get_template("report.html")
    return page.render(
        summary=summary,
        header=header(),
        lines=list(lines(summary)),
        over_header=over_header(),
        over_lines=list(over_lines(summary)),
        plot=Markup(_svg(_plot(summary))),
        command=command,
        unsure="controls" in summary and not summary["controls"],
    )


def write_report(folder: Path, summary: Mapping[str, Any], command: str | None = None) -> None:
    """Write `summary.json` and `report.html`, each whole or not at all."""
    write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_text(folder / "report.html", html(summary, command))


def _plot(summary: Mapping[str, Any]) -> Figure:
    """Each metric of each arm, with its interval."""
    arms = {"base": summary["base"]}
    if "steered" in summary:
        arms["steered"] = summary["steered"]
        arms |= {name: other["value"] for name, other in summary["others"].items()}
    figure = Figure(figsize=(9, 0.45 * len(arms) + 1), layout="constrained")
    axes = figure.subplots(1, len(METRICS), sharey=True)
    for axis, metric in zip(axes, METRICS, strict=True):
        for row, values in enumerate(arms.values()):
            value, low, high = (values[metric][k] for k in ("value", "low", "high"))
            colour = "#c2410c" if row == 1 else "#334155"
            if low is not None:
                axis.plot([low, high], [row, row], color=colour, linewidth=2)
            axis.plot(value, row, "o", color=colour)
        axis.axvline(arms["base"][metric]["value"], color="#94a3b8", linestyle=":", linewidth=1)
        axis.set_yticks(range(len(arms)), list(arms))
        axis.set_title(f"{metric.upper()}, 95 % interval")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    return figure


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
