import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from steer._eval._log import Log, drop_others, every_log, own_log
from steer.hooks import RunError

ROWS: list[dict[str, Any]] = [
    {"id": 3, "text": "Où est 東京 ?"},
    {"id": 1, "text": "a\nb\u2028c"},
    {"id": 2, "value": 0.1 + 0.2},
]
LINES = (
    '{"id": 3, "text": "Où est 東京 ?"}\n'
    '{"id": 1, "text": "a\\nb\u2028c"}\n'
    '{"id": 2, "value": 0.30000000000000004}\n'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_one_line_a_row(path: Path) -> None:
    log = Log(path)
    assert (len(log), list(log), path.read_bytes()) == (0, [], b"")
    log.append(ROWS[:2])
    log.append(ROWS[2:])
    assert path.read_bytes().decode() == LINES
    assert list(log) == ROWS


def test_rows_are_found_where_they_begin(path: Path) -> None:
    log = Log(path)
    log.append(ROWS[:1])
    log.append(ROWS[1:])
    for again in (log, Log(path)):
        # Of 38 bytes: ù has two, 東 and 京 have three each; of 30: U+2028 has three.
        assert again.offsets == [0, 38, 68]
        assert [again.row(n) for n in (2, 0, 1)] == [ROWS[2], ROWS[0], ROWS[1]]
        assert again.line(2) == b'{"id": 2, "value": 0.30000000000000004}\n'


def test_half_a_surrogate_pair_is_kept(path: Path) -> None:
    Log(path).append([{"text": "\ud83d"}])
    assert path.read_bytes() == b'{"text": "\\ud83d"}\n'
    assert list(Log(path)) == [{"text": "\ud83d"}]


def test_rows_are_on_the_disk_when_append_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        synced.append(path.read_bytes().decode())

    log = Log(path)
    monkeypatch.setattr(os, "fsync", fsync)
    log.append(ROWS[:2])
    log.append(ROWS[2:])
    assert synced == [LINES[: LINES.index('{"id": 2')], LINES]


@pytest.mark.parametrize("kept", [1, 20, 39])
def test_a_last_line_that_was_cut_off_is_dropped(path: Path, kept: int) -> None:
    whole, last = LINES[: LINES.index('{"id": 2')], '{"id": 2, "value": 0.30000000000000004}'
    path.write_bytes((whole + last[:kept]).encode())
    log = Log(path)
    assert path.read_bytes().decode() == whole
    assert list(log) == ROWS[:2]
    log.append(ROWS[2:])
    assert path.read_bytes().decode() == LINES


# 64 KiB are searched at a time: the newline lies in them, at their edge, or before.
@pytest.mark.parametrize("length", [65535, 65536, 65537, 200_000])
def test_a_long_last_line_that_was_cut_off_is_dropped(path: Path, length: int) -> None:
    path.write_bytes(b'{"id": 0}\n' + b"x" * length)
    log = Log(path)
    assert list(log) == [{"id": 0}]
    assert path.read_bytes() == b'{"id": 0}\n'


@pytest.mark.parametrize("damage", [b"{", '{"text": "Où'.encode()[:-1], b"x" * 150_000])
def test_a_file_without_a_line_is_emptied(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    assert list(Log(path)) == []
    assert path.read_bytes() == b""


def test_a_long_line_that_is_whole_stays(path: Path) -> None:
    row = {"text": "x" * 150_000}
    Log(path).append([row, {"id": 1}])
    assert list(Log(path)) == [row, {"id": 1}]


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (b'{"id": 4}\nnot json\n', "Expecting value"),
        (b"[4]\n", "a row is no object"),
        (b'{"id": "\xff"}\n', "can't decode byte 0xff"),
        (b'{"id": 4}\n\n', "Expecting value"),
        (b"\x00" * 9 + b"\n", "damaged"),
    ],
)
def test_damaged_rows(path: Path, damaged: bytes, why: str) -> None:
    path.write_bytes(damaged)
    with pytest.raises(RunError, match=r"log.jsonl is damaged \(.*\); choose another --out$") as e:
        list(Log(path))
    assert why in str(e.value)
    assert path.read_bytes() == damaged


def test_a_full_disk_says_how_many_rows_are_safe(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(path)
    log.append(ROWS[:2])
    monkeypatch.setattr(os, "fsync", full)
    expected = (
        "^cannot append to .+log.jsonl: No space left on device; 2 rows are safe, the same co"
    )
    with pytest.raises(RunError, match=expected):
        log.append(ROWS[2:])
    monkeypatch.undo()
    assert list(log) == list(Log(path)) == ROWS[:2]


def test_half_a_row_on_a_full_disk_does_not_spoil_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(path)
    log.append(ROWS[:1])
    real = Path.open

    class Half:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Half":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            full()

    monkeypatch.setattr(Path, "open", lambda self, mode: Half(real(self, mode)))
    with pytest.raises(RunError, match="1 rows are safe"):
        log.append(ROWS[1:])
    monkeypatch.undo()
    log.append(ROWS[1:])
    assert path.read_bytes().decode() == LINES
    assert [log.row(n) for n in range(3)] == ROWS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_the_kernel_says_that_the_disk_is_full(path: Path) -> None:
    log = Log(path)
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space left on device; 0 rows are safe"):
        log.append(ROWS)


def test_a_log_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^cannot write to .+/file/log.jsonl: Not a directory$"):
        Log(tmp_path / "file" / "log.jsonl")


def test_each_process_has_a_log_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "caa.grid.jsonl"
    names = ["caa.grid.jsonl", "caa.grid.1.jsonl", "caa.grid.12.jsonl"]
    assert [own_log(path, rank).name for rank in (0, 1, 12)] == names
    for name in [*names, "caa.grid.old.jsonl", "caa-0.grid.jsonl", "caa.grid.jsonl.1"]:
        (tmp_path / name).write_text(json.dumps(name))
    assert [found.name for found in every_log(path)] == names
    drop_others(path)
    assert [found.name for found in every_log(path)] == names[:1]
    assert len(list(tmp_path.iterdir())) == 4
