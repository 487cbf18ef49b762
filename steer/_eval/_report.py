"""A summary as one self-contained HTML page, or as Markdown; every text in it is escaped."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from steer._files import write_text
from steer.hooks import RunError

from ._plots import arms_plot, heat_map, svg, trade_off
from ._table import Table, caution, tables, title

_PAGES = Environment(
    loader=PackageLoader("steer", "_templates"), autoescape=True, undefined=StrictUndefined
)

_KEYS = (
    *("model", "revision", "dtype", "prompt", "system", "max_new_tokens", "judges", "plan"),
    *("origin", "data", "folds", "batch_tokens", "seed"),
)


def html(summaries: Sequence[Mapping[str, Any]]) -> str:
    """The report of one or more runs.

    Args:
        summaries: what their `summary.json` hold.
    """
    page = _PAGES.get_template("report.html")
    return page.render(runs=[_shown(summary) for summary in summaries])


def _shown(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": title(summary),
        "summary": summary,
        "tables": list(tables(summary)),
        "plot": Markup(svg(arms_plot(summary))),
        "caution": caution(summary),
        "grids": [*_swept(summary), *_grids(summary)],
        "facts": list(_facts(summary)),
    }


def _facts(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader needs to know to get the same numbers, without what was not asked for."""
    for key in _KEYS:
        value = summary.get(key)
        if value not in (None, []):
            yield key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _grids(summary: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    metric = (summary.get("tried") or {}).get("metric") or summary["metrics"][0]["name"]
    for name, how in summary["chosen"].items():
        about = f"Tuning of {name}: layer {how['layer']}, strength {how['strength']}"
        if "grid" in how:
            yield about, Markup(svg(heat_map(how["grid"], metric, None)))


def _swept(summary: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    """What a sweep tried: the effect, the side effect, and one against the other."""
    swept = summary.get("sweep")
    if swept is None:
        return
    points, metric, side = swept["points"], swept["metric"], swept["side_metric"]
    base = swept["base"].get(metric)
    yield f"{metric} on the tuning part", Markup(svg(heat_map(points, metric, base)))
    if side is None:
        return
    best = next(p for p in points if all(p[k] == v for k, v in swept["best"].items()))
    yield f"{side} of every plan", Markup(svg(heat_map(points, side, None)))
    plot = trade_off(points, metric, side, best)
    yield f"{metric} against {side}; the circle was confirmed", Markup(svg(plot))


def markdown(summaries: Sequence[Mapping[str, Any]]) -> str:
    """The tables of one or more runs."""
    parts = []
    for summary in summaries:
        parts += [f"## {_escaped(title(summary))}", *map(_table, tables(summary))]
        if (warning := caution(summary)) is not None:
            parts.append(warning)
        if summary["examples"]:
            parts.append(_table(_side_by_side(summary["examples"])))
        if summary.get("command"):
            parts.append(_fenced(summary["command"]))
    return "\n\n".join(parts) + "\n"


def _side_by_side(examples: Sequence[Mapping[str, str]]) -> Table:
    names = {"question": "asked", "base": "base", "steered": "steered"}
    keys = [key for key in names if key in examples[0]]
    lines = [[example[key] for key in keys] for example in examples]
    return Table("Answers side by side", [names[key] for key in keys], lines)


def _fenced(command: str) -> str:
    """The command between longer fences than any in it."""
    fence = "```"
    while fence in command:
        fence += "`"
    return f"{fence}sh\n{command}\n{fence}"


def _table(table: Table) -> str:
    rows = [table.header, ["---"] * len(table.header), *table.lines]
    lines = ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    return f"### {_escaped(table.title)}\n\n" + "\n".join(lines)


def _escaped(text: str) -> str:
    for sign in ("\\", "|", "<", ">", "`", "*", "_", "&", "~", "$"):
        text = text.replace(sign, f"\\{sign}")
    # No link and no picture; brackets of an interval stay as they are.
    return " ".join(text.replace("](", "]\\(").split())


def write_report(folder: Path, summary: Mapping[str, Any], command: str | None = None) -> None:
    """Write `summary.json` and `report.html`, each whole or not at all.

    Args:
        folder: where to.
        summary: the numbers.
        command: the command that gives them again.
    """
    whole = dict(summary) | ({"command": command} if command else {})
    try:
        write_text(folder / "summary.json", json.dumps(whole, indent=1) + "\n")
        write_text(folder / "report.html", html([whole]))
    except OSError as error:
        raise RunError(
            f"cannot write the report to {folder}: {error.strerror or error}; the rows are safe, "
            "the same command goes on from there"
        ) from error
