import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from steer._eval._rows import Rows
from steer.hooks import RunError

IDENTITY = {"task": "truthfulqa", "seed": 0, "tried": {"layers": (1, 2)}}
FIRST = {"id": 4, "question": "Où ?", "base": {"mc1": 1.0}}
SECOND = {"id": 0, "question": "Who\n?", "base": {"mc1": 0.1 + 0.2}}
LINES = (
    '{"id": 4, "question": "Où ?", "base": {"mc1": 1.0}}\n'
    '{"id": 0, "question": "Who\\n?", "base": {"mc1": 0.30000000000000004}}\n'
)


def text(folder: Path) -> str:
    return (folder / "rows.jsonl").read_bytes().decode("utf-8")


def test_one_line_an_item_in_the_order_of_writing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    rows = Rows(out, IDENTITY)
    assert text(out) == ""
    rows.append([FIRST, SECOND])
    assert text(out) == LINES
    assert rows.found == {4: FIRST, 0: SECOND}
    assert json.loads((out / "run.json").read_text()) == IDENTITY | {"tried": {"layers": [1, 2]}}


def test_rows_are_on_the_disk_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        synced.append(text(tmp_path))

    rows = Rows(tmp_path, IDENTITY)
    monkeypatch.setattr(os, "fsync", fsync)
    rows.append([FIRST, SECOND])
    assert synced == [LINES]


def test_a_run_goes_on_from_its_rows(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY).append([FIRST])
    again = Rows(tmp_path, IDENTITY)
    assert again.found == {4: FIRST}
    again.append([SECOND])
    assert text(tmp_path) == LINES
    assert Rows(tmp_path, IDENTITY).found == {4: FIRST, 0: SECOND}


@pytest.mark.parametrize("kept", [1, 20, len(LINES.splitlines()[1])])
def test_a_last_line_that_was_cut_off_is_dropped(tmp_path: Path, kept: int) -> None:
    Rows(tmp_path, IDENTITY)
    first, second = LINES.splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_bytes((first + second[:kept]).encode())
    rows = Rows(tmp_path, IDENTITY)
    assert rows.found == {4: FIRST}
    assert text(tmp_path) == first
    rows.append([SECOND])
    assert text(tmp_path) == LINES


def test_a_character_that_was_cut_in_two_is_dropped(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY)
    (tmp_path / "rows.jsonl").write_bytes('{"id": 4, "question": "Où'.encode()[:-1])
    assert Rows(tmp_path, IDENTITY).found == {}
    assert text(tmp_path) == ""


def test_another_run_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY).append([FIRST])
    other = {"task": "truthfulqa", "seed": 1, "plan": "abc"}
    expected = (
        rf"^{tmp_path} holds another run \(plan was None, is 'abc', seed was 0, is 1, "
        r"tried was \{'layers': \[1, 2\]\}, is None\); choose another --out$"
    )
    with pytest.raises(RunError, match=expected):
        Rows(tmp_path, other)
    assert text(tmp_path) == LINES.splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"id": 4}\nnot json\n',
        b'{"no id": 4}\n',
        b"[4]\n",
        b'{"id": 4, "question": "\xff"}\n',
    ],
)
def test_damaged_rows(tmp_path: Path, damaged: bytes) -> None:
    Rows(tmp_path, IDENTITY)
    (tmp_path / "rows.jsonl").write_bytes(damaged)
    with pytest.raises(RunError, match=r"rows.jsonl is damaged \(.+\); choose another --out$"):
        Rows(tmp_path, IDENTITY)
    assert (tmp_path / "rows.jsonl").read_bytes() == damaged


@pytest.mark.parametrize("damaged", [b"", b'{"task": ', b"[1]", b"null", b"\xff{}"])
def test_a_damaged_identity(tmp_path: Path, damaged: bytes) -> None:
    Rows(tmp_path, IDENTITY).append([{"id": 0}])
    (tmp_path / "run.json").write_bytes(damaged)
    with pytest.raises(RunError, match=r"run.json is damaged \(.+\); choose another --out$"):
        Rows(tmp_path, IDENTITY)


def test_rows_without_an_identity(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(LINES)
    with pytest.raises(RunError, match=r"holds rows but no run.json; choose another --out"):
        Rows(tmp_path, IDENTITY)
    assert text(tmp_path) == LINES


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^cannot write to .+/file/run: Not a directory$"):
        Rows(tmp_path / "file" / "run", IDENTITY)


def test_a_full_disk_says_how_many_rows_are_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(tmp_path, IDENTITY)
    rows.append([FIRST])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    expected = "rows.jsonl: No space left on device; 1 rows are safe, the same command goes on"
    with pytest.raises(RunError, match=expected):
        rows.append([SECOND])
    assert rows.found == {4: FIRST}


def test_without_a_folder_rows_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows: Any = Rows(None, IDENTITY)
    rows.append([FIRST])
    assert rows.found == {4: FIRST}
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_at_once_has_no_claim(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY)
    other = IDENTITY | {"seed": 77}
    Rows(tmp_path, other).append([{"id": 0}])
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 77
    with pytest.raises(RunError, match="holds another run"):
        Rows(tmp_path, IDENTITY)
