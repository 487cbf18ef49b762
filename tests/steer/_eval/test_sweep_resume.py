"""Sweeps that go on where they were killed, and folders that are taken."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny
import two
from steer import _methods
from steer._eval import Evaluation, _grid, _job, _tune, evaluate, sweep
from steer._eval._share import Share
from steer.hooks import Plan, RunError, add, resid_post
from steer.hooks import track as real_track
from swept import TUNING, plain, run, written


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    return run(folder, out=folder / "out")


def dying(after: int) -> Callable[..., Iterator[Any]]:
    """A bar that is killed after so many plans."""
    left = [after]

    def track(work: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        for one in real_track(work, *arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            yield one

    return track


@pytest.mark.parametrize("after", [5, 16, 22])
def test_a_sweep_that_was_killed_goes_on_to_the_same_end(
    found: Evaluation, folder: Path, tmp_path: Path, after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_grid, "track", dying(after))
        with pytest.raises(KeyboardInterrupt):
            run(folder, out=tmp_path / "out")
    assert plain(run(folder, out=tmp_path / "out")) == plain(found)
    names = ("rows.jsonl", "sweep.grid.jsonl", "side.grid.jsonl", "run.json")
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("dies", "again"), [("search", [1]), ("report", [])])
def test_a_sweep_that_goes_on_keeps_to_its_plans(
    found: Evaluation,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies: str,
    again: list[int],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if dies == "search":
            patch.setattr(_grid, "track", dying(16))
        else:
            patch.setattr("steer._eval._evaluate.run_parts", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, out=tmp_path / "out")
    made: list[int] = []  # how many layers were extracted from

    def extract(method: str, model: Any, pairs: Any, layers: Any, **options: Any) -> Plan:
        made.append(len(layers))
        plan = _methods.extract(method, model, pairs, layers, **options)
        return plan if len(layers) == 1 else -plan

    monkeypatch.setattr(_tune, "extract", extract)
    assert plain(run(folder, out=tmp_path / "out")) == plain(found)
    assert made == again


@pytest.mark.parametrize("kind", ["extracted.safetensors", "shuffled.safetensors", "safetensors"])
def test_a_plan_that_is_another_is_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    run(folder, ["caa"], out=tmp_path / "out")
    path = tmp_path / "out" / f"caa.{kind}"
    (-Plan.load(path)).save(path)
    before = path.read_bytes()
    with pytest.raises(RunError, match=f"caa.{kind} is not what this run made; choose another"):
        run(folder, ["caa"], out=tmp_path / "out")
    assert path.read_bytes() == before


def test_a_plan_that_was_there_before_is_refused_before_anything_is_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(resid_post(1), tiny.vector()).save(tmp_path / "caa.safetensors")
    monkeypatch.setattr(_tune, "extract", interrupted)
    with pytest.raises(RunError, match="caa.safetensors is not what this run made; move it, or"):
        run(folder, ["caa"], out=tmp_path)


def test_two_processes_end_as_one_does(
    found: Evaluation, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, shares, ranks = [tiny.model(), tiny.model()], threading.local(), set()
    monkeypatch.setattr(_job, "share_of", lambda: shares.mine)

    def extract(*arguments: Any, **options: Any) -> Plan:
        ranks.add(shares.mine.rank)
        plan = _methods.extract(*arguments, **options)
        return -plan if shares.mine.rank else plan

    monkeypatch.setattr(_tune, "extract", extract)
    given = written(folder)

    def one(share: Share) -> dict[str, Any]:
        shares.mine = share
        methods = ["caa", "grains"]
        return plain(
            sweep(models[share.rank], "truthfulqa", methods, out=tmp_path / "out", **given)
        )

    assert two.both(monkeypatch, one) == [plain(found)] * 2
    assert ranks == {0}
    names = [{path.name for path in out.iterdir()} for out in (tmp_path / "out", folder / "out")]
    assert names[0] == names[1]
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == (
        folder / "out" / "rows.jsonl"
    ).read_bytes()


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
