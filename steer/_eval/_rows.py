"""The record of a run: one line an item, so that a killed run can go on."""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from steer._files import write_text
from steer.hooks import RunError

from ._log import Log, drop_others, every_log, own_log
from ._share import Share

Row = dict[str, Any]


class Rows(Sequence[Row]):
    """`rows.jsonl` and `run.json` in a folder, in the order of the items' numbers.

    Rows stay on the disk; without a folder, in a temporary one. Each process of several writes a
    file of its own, `rows.1.jsonl` and so on, until `gather` joins them.

    Args:
        out: the folder, made if it is missing.
        identity: everything that decides the rows; a folder that holds rows of another run is
            refused.
        share: the share of this process.

    Raises:
        RunError: the folder cannot be written, or holds another run.
    """

    def __init__(
        self, out: Path | None, identity: Mapping[str, Any], share: Share | None = None
    ) -> None:
        self._share = share or Share()
        if out is None and self._share.world > 1:
            raise RunError("several processes need a folder that they share: give --out DIR")
        self.folder = Path(tempfile.mkdtemp(prefix="steer-")) if out is None else out
        if out is None:  # unlike a TemporaryDirectory it goes without a warning
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self._share.once(lambda: _claim(self.folder, json.loads(json.dumps(identity))))
            with self._share.alone():
                log = Log(own_log(self._path, self._share.rank))
            self._read(log)
        except OSError as error:
            raise RunError(f"cannot write to {self.folder}: {error.strerror or error}") from error
        self._share.wait()  # nobody writes while somebody reads

    @property
    def _path(self) -> Path:
        return self.folder / "rows.jsonl"

    def _read(self, log: Log) -> None:
        self._log = log
        self._places: dict[int, tuple[Log, int]] = {}
        for path in every_log(self._path):
            self._index(log if path == log.path else Log(path))
        self._order = sorted(self._places)

    def _index(self, log: Log) -> None:
        for number, row in enumerate(log):
            if not isinstance(row.get("id"), int):
                raise RunError(f"{log.path} is damaged (a row has no id); choose another --out")
            self._places[row["id"]] = (log, number)

    def has(self, number: int) -> bool:
        """Whether the item of that number is among them."""
        return number in self._places

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        log, number = self._places[self._order[at]]
        return log.row(number)

    def __iter__(self) -> Iterator[Row]:
        return (self[n] for n in range(len(self)))

    def append(self, rows: list[Row]) -> None:
        """Add rows; when this returns they are on the disk.

        Raises:
            RunError: the disk is full or gone; the rows written before are safe.
        """
        count = len(self._log)
        self._log.append(rows)
        for n, row in enumerate(rows):
            self._places[row["id"]] = (self._log, count + n)
        self._order = sorted(self._places)

    def gather(self) -> None:
        """Join the files of all processes to one, in order; waits for all.

        Raises:
            RunError: the disk is full or gone; every row is safe.
        """
        self._share.wait()  # every row is on the disk
        if self._share.once(self._joined):
            self._read(Log(self._path))

    def _joined(self) -> bool:
        """Join them, unless there is one and it is in order."""
        alone = len(every_log(self._path)) == 1
        if not alone:
            self._read(self._log)
        places = [self._places[number] for number in self._order]
        if alone and [n for _, n in places] == list(range(len(self._log))):
            return False
        joined = self._path.with_suffix(".joined")
        try:
            with joined.open("wb") as file:
                file.writelines(log.line(n) for log, n in places)
                file.flush()
                os.fsync(file.fileno())
            joined.replace(self._path)
        except OSError as error:
            raise RunError(
                f"cannot write {joined}: {error.strerror or error}; {len(self)} rows are safe, the "
                "same command goes on from there"
            ) from error
        drop_others(self._path)
        return True


def _claim(out: Path, identity: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        path = out / "run.json"
        if path.exists() and not _begun(out):
            path.unlink()  # a run that failed before it made anything has no claim
        if not path.exists():
            if _begun(out):
                raise RunError(f"{out} holds rows but no run.json; choose another --out")
            write_text(path, json.dumps(identity, indent=1) + "\n")
            return
        _compare(path, identity)
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror or error}") from error


def _compare(path: Path, identity: dict[str, Any]) -> None:
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); choose another --out") from error
    # The same bytes from another place are the same data.
    names = {*before, *identity} - {"origin"}
    changed = sorted(k for k in names if before.get(k) != identity.get(k))
    if changed:
        details = ", ".join(f"{k} was {before.get(k)!r}, is {identity.get(k)!r}" for k in changed)
        raise RunError(f"{path.parent} holds another run ({details}); choose another --out")


def _begun(out: Path) -> bool:
    logs = [*every_log(out / "rows.jsonl"), *out.glob("*.grid.jsonl"), *out.glob("*.grid.*.jsonl")]
    return any(path.stat().st_size for path in logs)
