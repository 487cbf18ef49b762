"""Measures every arm on the same items, a few items at a time, resumably."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from steer._tasks import Item, Result, Setting, Task
from steer.hooks import Plan, track

from ._items import Items
from ._rows import Rows
from ._share import Share


class Part(NamedTuple):
    """Items that are measured under the same arms.

    Attributes:
        items: the items.
        arms: the plans by name.
        chosen: for each method how its layer and strength were chosen on other items.
    """

    items: Items
    arms: dict[str, Plan | None]
    chosen: Mapping[str, Mapping[str, Any]]


def run_parts(
    task: Task, setting: Setting, parts: Sequence[Part], rows: Rows, share: Share
) -> None:
    """Measure what is not among the rows yet, and add it to them."""
    # A chunk that was cut off is measured again as a whole, so that its batches, and with them the
    # last digits, are those of an uninterrupted run.
    chunks = [
        (n, part.items[at : at + task.chunk])
        for n, part in enumerate(parts)
        for at in range(0, len(part.items), task.chunk)
    ]
    mine = share.of(chunks)
    todo = [(n, chunk) for n, chunk in mine if not all(map(rows.has, chunk.numbers))]
    show = setting.progress and share.first
    with share.alone():
        for n, chunk in track(todo, "evaluating", total=len(todo), show=show):
            items = list(chunk)
            found = task.measure(setting, items, parts[n].arms)
            fold = {"fold": n} if len(parts) > 1 else {}
            missing = [k for k, item in enumerate(items) if not rows.has(item.id)]
            rows.append([_row(items[k], k, found, fold) for k in missing])
    rows.gather()


def _row(
    item: Item, k: int, found: Mapping[str, Sequence[Result]], fold: Mapping[str, int]
) -> dict[str, Any]:
    about = {"id": item.id, **fold, **item.shown}
    return about | {name: results[k] for name, results in found.items()}
