"""Reads tables (JSONL or CSV) and writes files whole or not at all."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from steer.hooks import DataError, write_whole

Row = dict[str, Any]


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a JSONL or CSV file.

    Raises:
        DataError: missing, empty or malformed file; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    rows = _csv(path, text) if path.suffix.lower() == ".csv" else _jsonl(path, text)
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


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 and with LF line ends."""
    write_whole(path, text.encode())
