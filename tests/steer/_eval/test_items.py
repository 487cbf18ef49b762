import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import quiz
from steer._eval._items import Items, data_of
from steer._tasks import TASKS, Item, Task
from steer.hooks import DataError

TASK = TASKS["truthfulqa"]


@dataclass(frozen=True)
class Shown:
    """An item that shows its row."""

    id: int
    shown: dict[str, Any]


def watched(seen: list[int]) -> Task:
    """A task that notes which rows become items."""

    def item(row: dict[str, Any], number: int) -> Item:
        seen.append(number)
        return Shown(number, row)

    return replace(TASK, item=item)


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ids(items: Iterable[Item]) -> list[int]:
    return [item.id for item in items]


def test_all_items_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = quiz.write(tmp_path)
    found = data_of(TASK, path)
    assert ids(found.items) == list(range(12))
    assert [item.shown["question"] for item in found.items] == [q["question"] for q in quiz.rows()]
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.origin == f"file {path}"


def test_without_a_file_the_default_of_the_task() -> None:
    found = data_of(TASKS["misconceptions"], limit=2)
    assert (ids(found.items), found.origin) == ([0, 1], "built-in misconceptions")


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (5, 5), (12, 12), (99, 12)])
def test_a_limit_takes_the_first(tmp_path: Path, limit: int, count: int) -> None:
    assert ids(data_of(TASK, quiz.write(tmp_path), limit=limit).items) == list(range(count))


def test_a_sample_is_drawn_by_the_seed_and_kept_in_order(tmp_path: Path) -> None:
    path = quiz.write(tmp_path)
    drawn = [ids(data_of(TASK, path, sample=5, seed=seed).items) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(some) for some in drawn}) == 3
    for some in drawn:
        assert some == sorted(set(some))
        assert len(some) == 5
    # A limit would have taken the first ones.
    assert list(range(5)) not in drawn
    assert ids(data_of(TASK, path, sample=12).items) == list(range(12))
    assert ids(data_of(TASK, path, sample=99).items) == list(range(12))


def test_rows_that_are_left_out_are_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path, *quiz.rows(2), {"question": "no answers"})
    assert len(data_of(TASK, path, limit=2).items) == 2
    with pytest.raises(DataError, match=rf"^file {path}: row 2: no column 'best_answer'"):
        data_of(TASK, path)


def test_items_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    seen: list[int] = []
    items = data_of(watched(seen), quiz.write(tmp_path)).items
    assert seen == list(range(12))  # each is looked at once
    seen.clear()
    some = items[3:9].some([5, 0])
    assert (len(some), seen) == (2, [])
    assert isinstance(iter(some), Iterator)
    assert next(iter(some)).id == 8
    assert seen == [8]
    assert some[-1].id == 3
    assert seen == [8, 3]


def test_a_slice_of_items() -> None:
    rows = [json.dumps({"n": n}) for n in range(6)]
    items = Items(watched([]), rows, [5, 3, 1])
    assert ids(items) == [5, 3, 1]
    assert ids(items[1:]) == [3, 1]
    assert [item.shown for item in items[::-1]] == [{"n": 1}, {"n": 3}, {"n": 5}]
    with pytest.raises(IndexError):
        items[3]


def test_the_path_of_a_picture_counts_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    path = write(folder, {"image": "a/b.png"}, {"image": "/x.png"}, {"image": 7}, {"text": "no"})
    found = [item.shown.get("image") for item in data_of(watched([]), path).items]
    assert found == [str(folder / "a" / "b.png"), "/x.png", 7, None]
    monkeypatch.chdir(folder)
    first = data_of(watched([]), "rows.jsonl").items[0]
    assert first.shown["image"] == "a/b.png"


def test_a_task_may_cut_its_rows(tmp_path: Path) -> None:
    def twice(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return (row | {"half": half} for row in rows for half in (0, 1))

    path = write(tmp_path, {"n": 0}, {"n": 1})
    items = data_of(replace(watched([]), prepare=twice), path, limit=3).items
    assert [(i.id, i.shown) for i in items] == [
        (0, {"n": 0, "half": 0}),
        (1, {"n": 0, "half": 1}),
        (2, {"n": 1, "half": 0}),
    ]


def test_a_task_that_takes_no_row(tmp_path: Path) -> None:
    none = replace(TASK, prepare=lambda rows: iter(()))
    with pytest.raises(DataError, match=r"quiz.jsonl: no row is of use to truthfulqa$"):
        data_of(none, quiz.write(tmp_path))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": 0}, "^truthfulqa: the limit must be at least 1, got 0$"),
        ({"sample": -1}, "^truthfulqa: the sample must be at least 1, got -1$"),
        ({"limit": 1, "sample": 1}, "^truthfulqa: give a limit or a sample, not both$"),
        ({"data": None}, r"^truthfulqa: needs --data FILE \(TruthfulQA.csv or JSONL of github"),
        ({"data": "nowhere.jsonl"}, "^eval truthfulqa: no file and no named data 'nowhere.jsonl'"),
        ({"data": Path("nowhere.jsonl")}, "no file nowhere.jsonl"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        data_of(TASK, **({"data": quiz.write(tmp_path)} | given))
