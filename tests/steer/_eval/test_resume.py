from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import quiz
import tiny
from steer._eval import Evaluation, Tuning, _job, evaluate
from steer._tasks import TASKS, Setting
from steer.attribution import Pair
from steer.hooks import Model, RunError, add, resid_post

Evaluate = Callable[..., Evaluation]
TUNING = Tuning(layers=(1, 2), strengths=(0.2, 0.5), sources=100)
WAYS: dict[str, dict[str, Any]] = {
    "plan": {"plan": add(resid_post(1), tiny.vector(50))},
    "method": {"method": "caa", "beside": ["repe"], "tuning": TUNING},
    "folds": {"method": "caa", "folds": 3, "tuning": TUNING},
}


@pytest.fixture
def run(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """`evaluate` on a dozen questions, two at a time."""
    monkeypatch.setitem(TASKS, "truthfulqa", replace(TASKS["truthfulqa"], chunk=2))
    data = quiz.write(tmp_path)

    def go(out: Path, **options: Any) -> Evaluation:
        return evaluate(
            **({"model": model, "task": "truthfulqa", "data": data, "out": out} | options)
        )

    return go


def interrupt(monkeypatch: pytest.MonkeyPatch, kind: str, after: int) -> None:
    """Ctrl-C once the task has measured so many chunks for the `grid` or for the `rows`."""
    whole, calls = TASKS["truthfulqa"], []

    def measure(setting: Setting, items: Sequence[Any], arms: Mapping[str, Any]) -> Any:
        if ("tried" in arms) == (kind == "grid"):
            calls.append(arms)
            if len(calls) > after:
                raise KeyboardInterrupt
        return whole.measure(setting, items, arms)

    monkeypatch.setitem(TASKS, "truthfulqa", replace(whole, measure=measure))


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def assert_same(one: Evaluation, other: Evaluation) -> None:
    assert list(one.rows) == list(other.rows)
    assert one.summary | {"seconds": 0} == other.summary | {"seconds": 0}
    files = [(found.rows.folder / "rows.jsonl").read_bytes() for found in (one, other)]
    assert files[0] == files[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_interrupted_goes_on_to_the_same_end(
    run: Evaluate, tmp_path: Path, way: str
) -> None:
    whole = run(tmp_path / "whole", **WAYS[way])
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, "rows", after=2)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", **WAYS[way])
    assert lines(tmp_path / "killed" / "rows.jsonl") == 4
    assert not (tmp_path / "killed" / "summary.json").exists()
    assert_same(run(tmp_path / "killed", **WAYS[way]), whole)


@pytest.mark.parametrize("kept", [0, 1, 700, 5000])
def test_wherever_the_rows_were_cut_off(run: Evaluate, tmp_path: Path, kept: int) -> None:
    whole = run(tmp_path / "whole", **WAYS["plan"])
    run(tmp_path / "out", **WAYS["plan"])
    path = tmp_path / "out" / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:kept])
    assert_same(run(tmp_path / "out", **WAYS["plan"]), whole)


@pytest.mark.parametrize("way", ["method", "folds"])
def test_a_finished_run_is_not_measured_again(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    whole = run(tmp_path / "out", **WAYS[way])
    interrupt(monkeypatch, "rows", after=0)
    interrupt(monkeypatch, "grid", after=0)
    assert_same(run(tmp_path / "out", **WAYS[way]), whole)


def test_tuning_that_was_interrupted_keeps_what_is_done(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = run(tmp_path / "whole", **WAYS["method"]), tmp_path / "killed"
    # Three items judge, in two chunks a point: all four points of caa, and one and a half of repe.
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, "grid", after=11)
        with pytest.raises(KeyboardInterrupt):
            run(out, **WAYS["method"])
    assert [(out / f"{name}.json").exists() for name in ("caa", "repe")] == [True, False]
    assert lines(out / "repe.grid.jsonl") == 1
    interrupt(monkeypatch, "grid", after=6)  # the three other points of repe
    assert_same(run(out, **WAYS["method"]), whole)


def test_a_full_disk_ends_the_run_and_loses_nothing(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = run(tmp_path / "whole", **WAYS["plan"]), []

    def fsync(_: int) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", fsync)
        with pytest.raises(RunError, match="No space left on device; 6 rows are safe, the same"):
            run(tmp_path / "out", **WAYS["plan"])
    assert lines(tmp_path / "out" / "rows.jsonl") == 6
    assert_same(run(tmp_path / "out", **WAYS["plan"]), whole)


@pytest.mark.parametrize("way", ["plan", "method"])
def test_a_folder_that_cannot_be_written_fails_before_any_pass(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "file").touch()
    for kind in ("rows", "grid"):
        interrupt(monkeypatch, kind, after=0)
    monkeypatch.setattr("steer._eval._tune.extract", lambda *_, **__: pytest.fail("extracted"))
    with pytest.raises(RunError, match=r"^cannot write to .+/file/out: Not a directory$"):
        run(tmp_path / "file" / "out", **WAYS[way])


def changed(model: Model) -> Model:
    """The same name, and one matrix that is another."""
    with torch.no_grad():
        model.hf.model.layers[3].mlp.down_proj.weight.mul_(1.01)
    return model


HASH = "'[0-9a-f]{64}'"
CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("plan", {"seed": 5}, "seed was 0, is 5"),
    ("plan", {"limit": 6}, "numbers was '12 items, [0-9a-f]{12}', is '6 items, [0-9a-f]{12}'"),
    ("plan", {"prompt": "primer"}, "prompt was 'qa', is 'primer'"),
    ("plan", {"controls": False}, "controls was 5, is None"),
    ("plan", {"batch_tokens": 99}, "batch_tokens was 1024, is 99"),
    ("plan", {"plan": add(resid_post(1), tiny.vector(1))}, f"plan was {HASH}, is {HASH}"),
    ("plan", {"plan": add(resid_post(1), tiny.vector(50), strength=2.0)}, f"plan was {HASH}"),
    ("plan", {"model": changed(tiny.model())}, f"weights was {HASH}, is {HASH}"),
    ("plan", {"model": tiny.model("gpt2")}, "model was 'tiny-llama', is 'tiny-gpt2', weights was"),
    ("method", {"beside": []}, r"methods was \['caa', 'repe'\], is \['caa'\]"),
    ("method", {"folds": 2}, "folds was 1, is 2"),
    ("method", {"pairs": [Pair("a", "b", "c")]}, f"pairs was None, is {HASH}"),
    ("method", {"tuning": replace(TUNING, sources=2)}, "tried was {.+'sources': 2, .+}"),
]


@pytest.mark.parametrize(("way", "change", "message"), CHANGES)
def test_a_folder_of_another_run_is_refused(
    run: Evaluate, tmp_path: Path, way: str, change: dict[str, Any], message: str
) -> None:
    run(tmp_path / "out", **WAYS[way])
    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    with pytest.raises(RunError, match=rf"/out holds another run \({message}.*\); choose anothe"):
        run(tmp_path / "out", **(WAYS[way] | change))
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before


def test_a_folder_with_other_data_is_refused(run: Evaluate, tmp_path: Path) -> None:
    run(tmp_path / "out")
    path = quiz.write(tmp_path)
    path.write_text(path.read_text().replace("blue", "black", 1))
    with pytest.raises(RunError, match=rf"holds another run \(data was {HASH}, is {HASH}\); choo"):
        run(tmp_path / "out")


def test_a_folder_of_another_version_is_refused(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "out")
    known = _job.versions()
    monkeypatch.setattr(_job, "versions", lambda: known | {"torch": "9.9"})
    with pytest.raises(RunError, match=r"holds another run \(versions was \{.+\}, is .+'9.9'"):
        run(tmp_path / "out")
