"""Datasets of the Hugging Face hub."""

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from steer.hooks import DataError, DownloadError

from ._table import Table, line_of, text_of

HUB = "hub:owner/name[:config][/split][@revision]"
"""The written form."""

_FORM = re.compile(
    r"hub:(?P<path>\w[\w.-]*/\w[\w.-]*)(:(?P<config>[^:/@]+))?(/(?P<split>[^/@]+))?(@(?P<revision>.+))?"
)


@dataclass(frozen=True)
class Hub:
    """A dataset of the hub, read by the package `datasets`."""

    path: str
    """`owner/name`."""

    config: str | None = None
    """One of its configurations, if it has several."""

    split: str | None = None
    """As in `datasets`, a slice such as `test[:100]` too; it may be left out if there is one."""

    revision: str | None = None
    """A commit, branch or tag."""

    @classmethod
    def of(cls, text: str) -> "Hub":
        """Read the written form.

        Raises:
            DataError: if it is not of that form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise DataError(f"{text!r} names no dataset of the hub; expected {HUB}")
        return cls(**match.groupdict())

    def __str__(self) -> str:
        ends = ((":", self.config), ("/", self.split), ("@", self.revision))
        return self.path + "".join(mark + value for mark, value in ends if value)

    def table(self) -> Table:
        """The rows of the split.

        Raises:
            DataError: `datasets` is missing, a folder hides the dataset, the split is not said,
                or the rows are not text, numbers, lists and objects.
            DownloadError: `datasets` could not load it.
        """
        rows = [_line(self, row, number) for number, row in enumerate(_load(self), start=1)]
        if not rows:
            raise DataError(f"hub:{self}: no rows in it")
        return Table(rows, sha256(text_of(rows)).hexdigest(), f"hub {self}")


def _load(hub: Hub) -> Any:
    if os.path.exists(hub.path):  # `datasets` would read that and never ask the hub
        raise DataError(
            f"hub:{hub}: {Path.cwd()} has a folder or file {hub.path}, which would be read instead "
            "of the hub; start from another folder"
        )
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(
            f"hub:{hub}: needs the package datasets; python -m pip install 'steer[eval]'"
        ) from error
    try:
        found = datasets.load_dataset(hub.path, hub.config, split=hub.split, revision=hub.revision)
    except Exception as error:  # it raises its own, the hub's, and those of file formats
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DownloadError(
            f"hub:{hub}: could not be loaded ({reason}); check that the hub can be reached, and "
            f"the name, configuration, split and revision: {HUB}"
        ) from error
    if not isinstance(found, dict):
        return found
    if len(found) != 1:
        raise DataError(f"hub:{hub}: which split? It has {', '.join(found)}; write {HUB}")
    return next(iter(found.values()))


def _line(hub: Hub, row: dict[str, Any], number: int) -> str:
    def refuse(value: Any) -> Any:
        raise DataError(
            f"hub:{hub}, row {number}: holds a {type(value).__name__}; expected only text, "
            "numbers, lists and objects; save the columns that you need as JSONL"
        )

    return line_of(row, default=refuse)
