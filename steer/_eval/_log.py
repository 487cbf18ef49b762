"""An append-only file of JSON lines that survives being killed."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from steer.hooks import RunError


class Log:
    """A file of JSON lines; a last line that was cut off is dropped when it is opened.

    Args:
        path: the file, made if it is missing.

    Raises:
        RunError: it cannot be written, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offsets: list[int] = []
        try:
            path.touch()
            _trim(path)
            with path.open("rb") as file:
                at = 0
                for line in file:
                    self.offsets.append(at)
                    at += len(line)
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror or error}") from error
        self._end = at

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            for line in file:
                yield self._row(line)

    def row(self, number: int) -> dict[str, Any]:
        """The row of that number, from 0."""
        return self._row(self.line(number))

    def line(self, number: int) -> bytes:
        """The same as it is written."""
        with self.path.open("rb") as file:
            file.seek(self.offsets[number])
            return file.readline()

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; when this returns they are on the disk.

        Raises:
            RunError: the disk is full or gone; the rows written before are safe.
        """
        # Half a surrogate pair, which UTF-8 cannot hold, stays escaped.
        lines = [
            (json.dumps(row, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
            for row in rows
        ]
        try:
            with self.path.open("ab") as file:
                file.write(b"".join(lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, self._end)
            raise RunError(
                f"cannot append to {self.path}: {error.strerror or error}; {len(self)} rows are "
                "safe, the same command goes on from there"
            ) from error
        for line in lines:
            self.offsets.append(self._end)
            self._end += len(line)

    def _row(self, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RunError(f"{self.path} is damaged ({error}); choose another --out") from error
        if not isinstance(row, dict):
            raise RunError(f"{self.path} is damaged (a row is no object); choose another --out")
        return row


def own_log(path: Path, rank: int) -> Path:
    """Where one of several processes writes: `rows.jsonl`, `rows.1.jsonl` and so on."""
    return path.with_suffix(f".{rank}.jsonl") if rank else path


def every_log(path: Path) -> list[Path]:
    """The logs of all processes that there are, the first's first."""
    others = path.parent.glob(f"{path.stem}.*.jsonl")
    numbered = sorted((p for p in others if p.suffixes[-2][1:].isdigit()), key=str)
    return ([path] if path.exists() else []) + numbered


def drop_others(path: Path) -> None:
    """Delete the logs of all processes but the first.

    Raises:
        RunError: one cannot be deleted.
    """
    for other in every_log(path)[1:]:
        try:
            other.unlink()
        except OSError as error:
            raise RunError(f"cannot delete {other}: {error.strerror or error}") from error


def _trim(path: Path) -> None:
    """Cut off a last line that was not finished."""
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
