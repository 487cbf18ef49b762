"""The items of a task, read from its data one at a time, so that memory does not grow with them."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, overload

from steer._sources import NAMED, table
from steer._tasks import Item, Task
from steer.hooks import DataError, RunError

from ._spool import Spool


class Items(Sequence[Item]):
    """Some rows of a task's data as items.

    Args:
        task: what makes an item of a row.
        rows: each row of the data, as JSON.
        numbers: the rows that take part.
    """

    def __init__(self, task: Task, rows: Sequence[str], numbers: Sequence[int]) -> None:
        self._task = task
        self._rows = rows
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> "Items": ...
    def __getitem__(self, at: int | slice) -> "Item | Items":
        if isinstance(at, slice):
            return Items(self._task, self._rows, self.numbers[at])
        number = self.numbers[at]
        return self._task.item(json.loads(self._rows[number]), number)

    def __iter__(self) -> Iterator[Item]:
        return (self[n] for n in range(len(self)))

    def some(self, places: Sequence[int]) -> "Items":
        """The items at these places."""
        return Items(self._task, self._rows, [self.numbers[n] for n in places])


class Data(NamedTuple):
    """A task's items, and where they came from."""

    items: Items
    sha256: str
    origin: str


def data_of(
    task: Task,
    data: str | Path | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    skip: int = 0,
) -> Data:
    """The items of a task, each looked at once.

    Args:
        task: the task.
        data: a file, a name that the task knows, or a data set of the hub; None takes the default.
        limit: only the first so many items.
        sample: only so many items, drawn by the seed and kept in order.
        seed: of the draw.
        skip: leave out so many items at the beginning.

    Raises:
        DataError: no such data, or a row that cannot be used; names the row.
    """
    if missing := [name for name in task.needs if find_spec(name) is None]:
        raise RunError(
            f'{task.name}: needs {", ".join(missing)}; run: python -m pip install "steer[eval]"'
        )
    for name, count in (("limit", limit), ("sample", sample)):
        if count is not None and count < 1:
            raise DataError(f"{task.name}: the {name} must be at least 1, got {count}")
    if limit is not None and sample is not None:
        raise DataError(f"{task.name}: give a limit or a sample, not both")
    if data is None and task.default is None:
        raise DataError(f"{task.name}: needs --data FILE ({task.source})")
    named = {name: NAMED[name] for name in task.named}
    found = table(data, named, task.default, f"eval {task.name}")
    beside = Path(data).parent if data is not None and Path(data).is_file() else None
    try:
        # Windows of text are cut from the whole; otherwise a row is a row.
        rows = Spool(
            json.dumps(_placed(row, beside), ensure_ascii=False)
            for row in task.prepare(json.loads(text) for text in found.rows)
        )
        numbers = [skip + n for n in _chosen(len(rows) - skip, limit, sample, seed)]
        items = Items(task, rows, numbers)
        if not items:
            raise DataError(f"no row is of use to {task.name}")
        for _ in items:
            pass
    except DataError as error:
        raise DataError(f"{found.origin}: {error}") from error
    return Data(items, found.sha256, found.origin)


def _placed(row: Mapping[str, Any], beside: Path | None) -> dict[str, Any]:
    """The row, with a picture's path counted from the folder of the file."""
    names = [name for name in ("image", "image_path") if isinstance(row.get(name), str)]
    return dict(row) | ({name: str(beside / row[name]) for name in names} if beside else {})


def _chosen(count: int, limit: int | None, sample: int | None, seed: int) -> Sequence[int]:
    if sample is None or sample >= count:
        return range(count if limit is None else min(limit, count))
    return sorted(random.Random(seed).sample(range(count), sample))
