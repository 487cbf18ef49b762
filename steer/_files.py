"""Reads tables (JSONL, JSON, CSV or plain text) and writes files whole or not at all."""

import csv
import hashlib
import io
import json
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


def rows_of(path: str | Path, data: bytes) -> list[Row]:
    """The rows in the bytes of a file, by what its name ends with.

    `.csv` is a table with a header, `.txt` one row `{"text": …}`, `.json` a list of objects, and
    everything else JSONL, which a `.json` file that begins with no `[` may be too.

    Raises:
        DataError: empty or malformed file; the message names the line.
    """
    path = Path(path)
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    rows = _READERS.get(path.suffix.lower(), _jsonl)(path, text)
    if not rows:
        raise DataError(f"{path}: no rows in it")
    return rows


def _jsonl(path: Path, text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
        rows.append(row)
    return rows


def _csv(path: Path, text: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} "
                    "fields as in the header"
                )
            rows.append(dict(row))
    except csv.Error as error:
        line = reader.reader.line_num  # its own is behind while a row fails
        raise DataError(f"{path}, line {line}: not CSV ({error})") from error
    return rows


def _json(path: Path, text: str) -> list[Row]:
    if not text.lstrip().startswith("["):
        return _jsonl(path, text)
    try:
        rows: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: expected an object, got {type(row).__name__}")
    return rows


def _txt(_: Path, text: str) -> list[Row]:
    return [{"text": text}] if text.strip() else []


_READERS = {".csv": _csv, ".json": _json, ".txt": _txt}


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 and with LF line ends."""
    write_whole(path, text.encode())
