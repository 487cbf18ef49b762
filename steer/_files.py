"""Reads tables (JSONL, JSON, CSV or plain text) and writes files whole or not at all."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from steer.hooks import DataError, write_whole

Row = dict[str, Any]


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file, read as `rows_of` says.

    Raises:
        DataError: missing, empty or malformed file; the message names the line.
    """
    return rows_of(path, read_bytes(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file that the user named.

    Raises:
        DataError: if there is none, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def each_row(path: str | Path) -> Iterator[Row]:
    """The same rows one after the other; of JSONL and CSV, one is in memory at a time.

    Raises:
        DataError: missing, empty or malformed file; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _rows_in(path, file)
    except UnicodeDecodeError as error:
        raise _no_text(path, read_bytes(path)) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def rows_of(path: str | Path, data: bytes) -> list[Row]:
    """The rows in the bytes of a file, by what its name ends with.

    `.csv` is a table with a header, `.txt` one row `{"text": …}`, `.json` a list of objects, and
    everything else JSONL, which a `.json` file that begins with no `[` may be too.

    Raises:
        DataError: empty or malformed file; the message names the line.
    """
    path = Path(path)
    try:
        return list(_rows_in(path, io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig")))
    except UnicodeDecodeError as error:
        raise _no_text(path, data) from error


def _rows_in(path: Path, file: io.TextIOWrapper) -> Iterator[Row]:
    count = 0
    for row in _READERS.get(path.suffix.lower(), _jsonl)(path, file):
        count += 1
        yield row
    if not count:
        raise DataError(f"{path}: no rows in it")


def _no_text(path: Path, data: bytes) -> DataError:
    """Says where; the error of a reader counts from the part that it had read."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})")
    return DataError(f"{path}: not UTF-8 text")


def _jsonl(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
        yield row


def _csv(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    reader = csv.DictReader(lines, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} "
                    "fields as in the header"
                )
            yield dict(row)
    except csv.Error as error:
        line = reader.reader.line_num  # its own is behind while a row fails
        raise DataError(f"{path}, line {line}: not CSV ({error})") from error


def _json(path: Path, file: io.TextIOWrapper) -> Iterator[Row]:
    text = file.read()
    if not text.lstrip().startswith("["):
        yield from _jsonl(path, text.split("\n"))
        return
    try:
        rows: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: expected an object, got {type(row).__name__}")
        yield row


def _txt(_: Path, file: io.TextIOWrapper) -> Iterator[Row]:
    text = file.read()
    if text.strip():
        yield {"text": text}


_READERS: dict[str, Callable[[Path, io.TextIOWrapper], Iterator[Row]]] = {
    ".csv": _csv,
    ".json": _json,
    ".txt": _txt,
}


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 and with LF line ends."""
    write_whole(path, text.encode())
