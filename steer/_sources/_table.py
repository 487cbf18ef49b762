"""What every source gives."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from steer._files import Row


class Table(NamedTuple):
    """Rows, and what to write into a report so that they can be found again."""

    rows: list[str]
    """Each row as compact JSON, which needs far less memory than a dict."""

    sha256: str
    """Of the bytes of the file; of `text_of(rows)` where there is no file."""

    origin: str
    """Such as `built-in requests`, `file mine.jsonl` or `hub owner/name@main`."""


@runtime_checkable
class Source(Protocol):
    """Anything that gives a table."""

    def table(self) -> Table:
        """Read it, after a download if it is not there yet.

        Raises:
            DataError: there is no such data, or it cannot be used.
            DownloadError: it cannot be fetched, or is not what was pinned.
        """
        ...


def line_of(row: Row, default: Callable[[Any], Any] | None = None) -> str:
    """A row as compact JSON in ASCII; `default` is as in `json.dumps`."""
    return json.dumps(row, separators=(",", ":"), default=default)


def text_of(rows: list[str]) -> bytes:
    """The rows as one JSONL file."""
    return "".join(f"{row}\n" for row in rows).encode()
