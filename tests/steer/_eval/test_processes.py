"""Runs that are killed, and runs that two processes share: all end as one undisturbed run does."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import launched
import quiz
import tiny
from steer.hooks import add, resid_post

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

PLAN = ["--plan", "plan.safetensors"]
METHOD = ["--method", "caa", "--layers", "1,2", "--strengths", "0.2,0.5", "--folds", "2"]
Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """720 questions and a plan."""
    made = tmp_path_factory.mktemp("given")
    quiz.write(made)
    (made / "many.jsonl").write_text((made / "quiz.jsonl").read_text() * 60)
    add(resid_post(1), tiny.vector(50)).save(made / "plan.safetensors")
    return made


@pytest.fixture(scope="module")
def command(folder: Path, saved: Path) -> Command:
    def words(way: list[str], out: Path, data: str = "many.jsonl") -> list[str]:
        way = [str(folder / word) if word == "plan.safetensors" else word for word in way]
        given = ["--model", str(saved), "--data", str(folder / data), "--cost", "none"]
        return ["eval", "truthfulqa", *given, *way, "--quiet", "--out", str(out)]

    return words


@pytest.fixture(scope="module")
def planned(folder: Path, command: Command) -> Path:
    """The folder of an undisturbed run with a plan."""
    assert launched.run(*command(PLAN, folder / "planned")).code == 0
    return folder / "planned"


@pytest.fixture(scope="module")
def tuned(folder: Path, command: Command) -> Path:
    """The folder of an undisturbed run with a method."""
    assert launched.run(*command(METHOD, folder / "tuned")).code == 0
    return folder / "tuned"


def summary(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "summary.json").read_text())
    return found | {"seconds": None, "command": None}


def rows_in(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("rows*.jsonl"))


def assert_same(folder: Path, whole: Path) -> None:
    assert summary(folder) == summary(whole)
    assert (folder / "rows.jsonl").read_bytes() == (whole / "rows.jsonl").read_bytes()
    names = {path.name for path in folder.iterdir()}
    # Nothing is left but perhaps a file that was being written whole when its process died.
    assert {name for name in names if not name.startswith("tmp")} == {
        path.name for path in whole.iterdir()
    }


def test_scoring_that_was_killed(planned: Path, command: Command, tmp_path: Path) -> None:
    words = command(PLAN, tmp_path / "out")
    launched.kill(*words, when=tmp_path / "out" / "rows.jsonl", lines=33)
    assert 33 <= rows_in(tmp_path / "out") < 720
    assert not (tmp_path / "out" / "summary.json").exists()
    assert launched.run(*words).code == 0
    assert_same(tmp_path / "out", planned)


def test_tuning_that_was_killed(tuned: Path, command: Command, tmp_path: Path) -> None:
    words, log = command(METHOD, tmp_path / "out"), tmp_path / "out" / "caa-0.grid.jsonl"
    launched.kill(*words, when=log, lines=1)
    assert not (tmp_path / "out" / "caa-0.json").exists()
    first = log.read_text().splitlines()[0]
    assert launched.run(*words).code == 0
    assert log.read_text().splitlines()[0] == first
    assert_same(tmp_path / "out", tuned)


def test_two_processes_with_a_plan(planned: Path, command: Command, tmp_path: Path) -> None:
    found = launched.run(*command(PLAN, tmp_path / "out"), two=True)
    assert found.code == 0
    assert found.out.count("truthfulqa on") == 1
    assert "warn" not in found.err.lower()
    assert_same(tmp_path / "out", planned)


def test_two_processes_with_a_method(tuned: Path, command: Command, tmp_path: Path) -> None:
    assert launched.run(*command(METHOD, tmp_path / "out"), two=True).code == 0
    assert_same(tmp_path / "out", tuned)


def test_two_processes_that_were_killed_and_one_goes_on(
    planned: Path, command: Command, tmp_path: Path
) -> None:
    words = command(PLAN, tmp_path / "out")
    launched.kill(*words, when=tmp_path / "out" / "rows.1.jsonl", lines=33, two=True)
    assert 33 <= rows_in(tmp_path / "out") < 720
    assert launched.run(*words).code == 0
    assert_same(tmp_path / "out", planned)


def test_one_process_that_was_killed_and_two_go_on(
    tuned: Path, command: Command, tmp_path: Path
) -> None:
    words = command(METHOD, tmp_path / "out")
    launched.kill(*words, when=tmp_path / "out" / "caa-1.grid.jsonl", lines=1)
    assert launched.run(*words, two=True).code == 0
    assert_same(tmp_path / "out", tuned)


def test_two_processes_are_refused_in_one_line(
    planned: Path, command: Command, tmp_path: Path
) -> None:
    before = (planned / "rows.jsonl").read_bytes()
    found = launched.run(*command(PLAN, planned, "quiz.jsonl"), two=True)
    assert found.code == 1
    (line,) = (line for line in found.err.splitlines() if line.startswith("steer:"))
    assert "holds another run (data was '" in line
    assert (planned / "rows.jsonl").read_bytes() == before
    assert not list(planned.glob("rows.*.jsonl"))
