"""Summaries as tables in the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from steer._eval._table import Line, header, lines, over_header, over_lines


def table(summary: Mapping[str, Any]) -> None:
    """Print the arms of a summary, and how the plan was chosen."""
    tuning = summary["tuning"]
    title = f"{summary['task']} on {summary['model']}, {summary['items']} questions"
    if tuning["items"]:
        title += (
            f"; layer {tuning['layer']}, strength {tuning['strength']} "
            f"chosen on {tuning['items']} others"
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(_grid(title, header(), lines(summary)))
    if "steered" in summary:
        console.print(_grid(None, over_header(), over_lines(summary)))


def _grid(title: str | None, names: Iterable[str], rows: Iterable[Line]) -> Table:
    grid = Table(title=title, title_justify="left")
    for name in names:
        grid.add_column(name, no_wrap=True)
    for line in rows:
        grid.add_row(line.arm, *line.cells)
    return grid
