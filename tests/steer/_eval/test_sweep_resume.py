"""Sweeps that go on where they were killed, and folders that are taken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny
from steer._eval import Evaluation, _grid, evaluate
from steer.hooks import RunError
from steer.hooks import track as real_track
from swept import TUNING, plain, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    return run(folder, out=folder / "out")


@pytest.mark.parametrize("after", [5, 16, 22])
def test_a_sweep_that_was_killed_goes_on_to_the_same_end(
    found: Evaluation, folder: Path, tmp_path: Path, after: int
) -> None:
    left = [after]

    def track(work: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        for one in real_track(work, *arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            yield one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_grid, "track", track)
        with pytest.raises(KeyboardInterrupt):
            run(folder, out=tmp_path / "out")
    assert plain(run(folder, out=tmp_path / "out")) == plain(found)
    names = ("rows.jsonl", "sweep.grid.jsonl", "side.grid.jsonl", "run.json")
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_a_folder_is_for_one_sweep(found: Evaluation, folder: Path, tmp_path: Path) -> None:
    out = folder / "out"
    before = (out / "rows.jsonl").read_bytes()
    changes: list[tuple[dict[str, Any], str]] = [
        ({"rungs": 2}, "sweep was .*'rungs': 3.* is .*'rungs': 2"),
        ({"side": None}, "sweep was .*, is .*'side': None"),
        ({"methods": ["caa"]}, "methods was"),
        ({"seed": 4}, "seed was 0, is 4"),
    ]
    for change, told in changes:
        with pytest.raises(RunError, match=rf"holds another run \(.*{told}.*\); choose another"):
            run(folder, out=out, **change)
    with pytest.raises(RunError, match="holds another run .*side_data"):
        run(folder, texts=["the sea is old ."], out=out)
    ways: list[dict[str, Any]] = [{"method": "caa", "tuning": TUNING}, {}]
    for options in ways:
        with pytest.raises(RunError, match=r"holds another run \(.*sweep was .*, is None"):
            evaluate(tiny.model(), "truthfulqa", data=folder / "quiz.jsonl", out=out, **options)
    evaluate(tiny.model(), "truthfulqa", data=folder / "quiz.jsonl", out=tmp_path / "eval")
    with pytest.raises(RunError, match="holds another run .*sweep was None"):
        run(folder, out=tmp_path / "eval")
    assert (out / "rows.jsonl").read_bytes() == before
