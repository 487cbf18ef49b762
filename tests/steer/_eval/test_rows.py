import errno
import gc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import two
from steer._eval import _log
from steer._eval._rows import Rows
from steer._eval._share import Share
from steer.hooks import RunError

IDENTITY = {"task": "truthfulqa", "seed": 0, "tried": {"layers": (1, 2)}}
FIRST = {"id": 4, "question": "Où ?", "base": {"mc1": 1.0}}
SECOND = {"id": 0, "question": "Who\n?", "base": {"mc1": 0.1 + 0.2}}
LINES = (
    '{"id": 4, "question": "Où ?", "base": {"mc1": 1.0}}\n'
    '{"id": 0, "question": "Who\\n?", "base": {"mc1": 0.30000000000000004}}\n'
)


def text(folder: Path) -> str:
    return (folder / "rows.jsonl").read_bytes().decode()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_come_in_the_order_of_the_items(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    rows = Rows(out, IDENTITY)
    assert text(out) == ""
    rows.append([FIRST])
    rows.append([SECOND])
    assert text(out) == LINES
    assert list(rows) == rows[:] == [SECOND, FIRST]
    assert (rows[0], rows[-1], rows[1:]) == (SECOND, FIRST, [FIRST])
    assert [rows.has(n) for n in (0, 1, 4)] == [True, False, True]
    assert json.loads((out / "run.json").read_text()) == IDENTITY | {"tried": {"layers": [1, 2]}}


def test_the_file_is_put_in_order_at_the_end(tmp_path: Path) -> None:
    rows = Rows(tmp_path, IDENTITY)
    rows.append([FIRST, SECOND])
    rows.gather()
    assert text(tmp_path) == "".join(reversed(LINES.splitlines(keepends=True)))
    assert list(rows) == list(Rows(tmp_path, IDENTITY)) == [SECOND, FIRST]
    assert files(tmp_path) == ["rows.jsonl", "run.json"]
    before = (tmp_path / "rows.jsonl").stat().st_ino
    rows.gather()
    assert (tmp_path / "rows.jsonl").stat().st_ino == before


def test_rows_are_read_when_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(tmp_path, IDENTITY)
    rows.append([FIRST, SECOND])
    read: list[bytes] = []
    real = _log.Log._row
    monkeypatch.setattr(_log.Log, "_row", lambda log, line: read.append(line) or real(log, line))
    assert len(rows) == 2
    assert read == []
    assert next(iter(rows)) == SECOND
    assert read == [LINES.splitlines(keepends=True)[1].encode()]


def test_a_run_goes_on_from_its_rows(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY).append([FIRST])
    again = Rows(tmp_path, IDENTITY)
    assert list(again) == [FIRST]
    again.append([SECOND])
    assert text(tmp_path) == LINES


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


@pytest.mark.parametrize("log", ["rows.jsonl", "rows.1.jsonl", "caa.grid.jsonl"])
def test_results_of_any_kind_are_a_claim(tmp_path: Path, log: str) -> None:
    Rows(tmp_path, IDENTITY)
    (tmp_path / log).write_text('{"id": 0}\n')
    with pytest.raises(RunError, match=r"holds another run \(seed was 0, is 77\)"):
        Rows(tmp_path, IDENTITY | {"seed": 77})


def test_a_run_that_failed_at_once_has_no_claim(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY)
    (tmp_path / "caa.grid.jsonl").touch()
    (tmp_path / "mine.safetensors").write_text("the user's own")
    Rows(tmp_path, IDENTITY | {"seed": 77}).append([{"id": 0}])
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 77


@pytest.mark.parametrize("damaged", [b'{"no id": 4}\n', b'{"id": "4"}\n', b"[4]\n", b"no\n"])
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


@pytest.mark.parametrize("log", ["rows.jsonl", "rows.1.jsonl", "caa-0.grid.jsonl"])
def test_results_without_an_identity(tmp_path: Path, log: str) -> None:
    (tmp_path / log).write_text(LINES)
    with pytest.raises(RunError, match=r"holds rows but no run.json; choose another --out"):
        Rows(tmp_path, IDENTITY)
    assert files(tmp_path) == [log]


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=rf"^cannot write to .+/{place}: "):
        Rows(tmp_path / place, IDENTITY)


def test_a_full_disk_when_the_rows_are_put_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(tmp_path, IDENTITY)
    rows.append([FIRST, SECOND])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device; 2 rows are safe, the same comm"):
        rows.gather()
    monkeypatch.undo()
    assert text(tmp_path) == LINES
    again = Rows(tmp_path, IDENTITY)
    again.gather()
    assert files(tmp_path) == ["rows.jsonl", "run.json"]


def test_without_a_folder_a_passing_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = Rows(None, IDENTITY)
    rows.append([FIRST])
    folder = rows.folder
    assert list(rows) == [FIRST]
    assert files(folder) == ["rows.jsonl", "run.json"]
    del rows
    gc.collect()
    assert not folder.exists()
    assert files(tmp_path) == []


def test_several_processes_need_a_folder() -> None:
    with pytest.raises(RunError, match="several processes need a folder that they share: give --o"):
        Rows(None, IDENTITY, Share(1, 2))


def test_the_rows_of_two_processes_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(share: Share) -> list[Mapping[str, Any]]:
        rows = Rows(tmp_path, IDENTITY, share)
        rows.append([{"id": 3 - n} for n in share.of(range(4))])
        assert len(rows) == 2
        rows.gather()
        assert len(rows) == 4
        return list(rows)

    assert two.both(monkeypatch, run) == [[{"id": n} for n in range(4)]] * 2
    assert text(tmp_path) == '{"id": 0}\n{"id": 1}\n{"id": 2}\n{"id": 3}\n'
    assert files(tmp_path) == ["rows.jsonl", "run.json"]


def test_one_process_goes_on_from_the_rows_of_two(tmp_path: Path) -> None:
    Rows(tmp_path, IDENTITY).append([FIRST])
    (tmp_path / "rows.1.jsonl").write_text(LINES.splitlines()[1] + '\n{"id": 7, "cut')
    rows = Rows(tmp_path, IDENTITY)
    assert list(rows) == [SECOND, FIRST]
    rows.append([{"id": 2}])
    rows.gather()
    assert [row["id"] for row in rows] == [0, 2, 4]
    assert files(tmp_path) == ["rows.jsonl", "run.json"]


def test_joining_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """The joined file is in place, and the others are not gone yet."""
    Rows(tmp_path, IDENTITY).append([SECOND, FIRST])
    (tmp_path / "rows.1.jsonl").write_text(LINES.splitlines(keepends=True)[0])
    (tmp_path / "rows.joined").write_text('{"id": 9')
    rows = Rows(tmp_path, IDENTITY)
    rows.gather()
    assert list(rows) == [SECOND, FIRST]
    assert text(tmp_path).count("\n") == 2
    assert files(tmp_path) == ["rows.jsonl", "run.json"]


def test_two_processes_are_refused_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Rows(tmp_path, IDENTITY).append([FIRST])
    other = IDENTITY | {"seed": 1}
    found = two.both(monkeypatch, lambda share: Rows(tmp_path, other, share))
    assert [type(error) for error in found] == [RunError] * 2
    assert str(found[0]) == str(found[1])
    assert files(tmp_path) == ["rows.jsonl", "run.json"]
