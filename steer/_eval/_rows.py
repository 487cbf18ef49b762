"""The append-only record of a run: one line an item, so that a killed run can go on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steer._files import write_text
from steer.hooks import RunError


class Rows:
    """`rows.jsonl` and `run.json` in a folder; without a folder, rows are only kept in memory.

    Args:
        out: the folder, made if it is missing.
        identity: everything that decides the rows; a folder that holds rows of another run is
            refused.

    Raises:
        RunError: the folder cannot be written, or holds another run.
    """

    def __init__(self, out: Path | None, identity: Mapping[str, Any]) -> None:
        self.found: dict[int, dict[str, Any]] = {}
        self._path = None if out is None else out / "rows.jsonl"
        if out is None:
            return
        try:
            _claim(out, json.loads(json.dumps(identity)))
            self.found = _read(out / "rows.jsonl")
        except OSError as error:
            raise RunError(f"cannot write to {out}: {error.strerror or error}") from error

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; when this returns they are on the disk.

        Raises:
            RunError: the disk is full or gone; the rows written before are safe.
        """
        if self._path is not None:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            try:
                with self._path.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise RunError(
                    f"cannot append to {self._path}: {error.strerror or error}; "
                    f"{len(self.found)} rows are safe, the same command goes on from there"
                ) from error
        self.found |= {row["id"]: row for row in rows}


def _claim(out: Path, identity: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "run.json"
    if path.exists() and not _has_rows(out) and not any(out.glob("*.safetensors")):
        path.unlink()  # a run that failed before it made anything has no claim
    if not path.exists():
        if _has_rows(out):
            raise RunError(f"{out} holds rows but no run.json; choose another --out")
        write_text(path, json.dumps(identity, indent=1) + "\n")
        return
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); choose another --out") from error
    changed = sorted(k for k in {*before, *identity} if before.get(k) != identity.get(k))
    if changed:
        details = ", ".join(f"{k} was {before.get(k)!r}, is {identity.get(k)!r}" for k in changed)
        raise RunError(f"{out} holds another run ({details}); choose another --out")


def _has_rows(out: Path) -> bool:
    rows = out / "rows.jsonl"
    return rows.exists() and rows.stat().st_size > 0


def _read(path: Path) -> dict[int, dict[str, Any]]:
    """The rows written so far; a last line that was cut off is removed from the file."""
    if not path.exists():
        path.touch()
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        rows = [json.loads(line) for line in whole.decode("utf-8").split("\n") if line]
        return {row["id"]: row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); choose another --out") from error
