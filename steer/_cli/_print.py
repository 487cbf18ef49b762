"""Summaries as tables in the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from steer._eval._table import Table, caution, tables


def show(summary: Mapping[str, Any]) -> None:
    """Print the tables of a summary."""
    print_tables(tables(summary))
    if (warning := caution(summary)) is not None:
        print(warning)


def print_tables(found: Iterable[Table]) -> None:
    """Print tables, each under its title."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for table in found:
        # `Text`, since rich takes brackets in a plain one for markup.
        grid = Grid()
        for name in table.header:
            grid.add_column(Text(name), overflow="fold")
        for line in table.lines:
            grid.add_row(*map(Text, line))
        console.print(Text(table.title), soft_wrap=True)
        console.print(grid)
