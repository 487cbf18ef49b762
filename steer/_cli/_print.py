"""Summaries as tables in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from steer._eval._table import header, lines


def table(summary: Mapping[str, Any]) -> None:
    """Print the arms of a summary, and how the plan was chosen."""
    tuning = summary["tuning"]
    title = f"{summary['task']} on {summary['model']}, {summary['items']} questions"
    if tuning["items"]:
        title += (
            f"; layer {tuning['layer']}, strength {tuning['strength']} "
            f"chosen on {tuning['items']} others"
        )
    grid = Table(title=title, title_justify="left")
    for name in header():
        grid.add_column(name, no_wrap=True)
    for line in lines(summary):
        grid.add_row(line.arm, *line.cells)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(grid)
