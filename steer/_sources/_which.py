"""Which source a user means."""

import os
from collections.abc import Mapping
from pathlib import Path

from steer.hooks import DataError

from ._file import File
from ._hub import HUB, Hub
from ._table import Source, Table


def table(
    text: str | Path | None, named: Mapping[str, Source], default: str | None, who: str
) -> Table:
    """The data that a text means, and no other: what cannot be had is never replaced.

    Args:
        text: a name in `named`, a file, `hub:owner/name[:config][/split][@revision]`, or None for
            the default. A `Path` is always a file. A text that is both a name and a file of the
            working directory is refused, since either could be meant; `./name` is the file.
        named: what names there are.
        default: one of them, or None if the user has to choose.
        who: begins the error messages.

    Raises:
        DataError: nothing is meant, more than one thing is, or the data cannot be used.
        DownloadError: the data cannot be fetched, or is not what was pinned.
    """
    if text is not None:
        return _source(text, named, who).table()
    if default is None:
        raise DataError(f"{who}: needs data; {_accepted(named)}")
    return named[default].table()


def _source(text: str | Path, named: Mapping[str, Source], who: str) -> Source:
    if isinstance(text, Path):
        return File(text)
    is_name, is_hub, is_file = text in named, text.startswith("hub:"), os.path.isfile(text)
    if is_file and (is_name or is_hub):
        other = "named data" if is_name else "a dataset of the hub"
        raise DataError(
            f"{who}: {text!r} is both {other} and a file in {Path.cwd()}; write ./{text} for the "
            "file, or move the file away for the other"
        )
    if is_name:
        return named[text]
    if is_hub:
        return Hub.of(text)
    if is_file:
        return File(Path(text))
    raise DataError(f"{who}: no file and no named data {text!r}; {_accepted(named)}")


def _accepted(named: Mapping[str, Source]) -> str:
    names = f"one of {', '.join(named)}, " if named else ""
    return f"expected {names}a .csv, .jsonl, .json or .txt file, or {HUB}"
