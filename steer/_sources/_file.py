"""Files: the user's, and those that come with the package."""

from dataclasses import dataclass
from pathlib import Path

from steer._files import each_row, sha256
from steer.data import path_of

from ._table import Table, line_of


@dataclass(frozen=True)
class File:
    """A file of the user: CSV, JSONL, a JSON list, or a text."""

    path: Path

    def table(self) -> Table:
        """Its rows.

        Raises:
            DataError: missing, empty or malformed file; the message names the line.
        """
        rows = [line_of(row) for row in each_row(self.path)]
        return Table(rows, sha256(self.path), f"file {self.path}")


@dataclass(frozen=True)
class BuiltIn:
    """A set that comes with the package."""

    name: str
    """What `steer.data.path_of` calls it."""

    about: str
    """One line on what it holds."""

    licence: str = "CC-BY-4.0"
    """Of the data."""

    upstream: str = "written for steer"
    """Who made it."""

    def table(self) -> Table:
        """Its rows."""
        return File(path_of(self.name)).table()._replace(origin=f"built-in {self.name}")
