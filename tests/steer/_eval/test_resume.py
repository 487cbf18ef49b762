from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
from steer._eval import Evaluation, Tuning, _run, _tune, evaluate
from steer.hooks import Model, RunError, add, resid_post

Evaluate = Callable[..., Evaluation]
WAYS: dict[str, dict[str, Any]] = {
    "plan": {"plan": add(resid_post(1), tiny.vector(50))},
    "method": {
        "method": "caa",
        "beside": ["repe"],
        "tuning": Tuning(layers=(1, 2), strengths=(0.2, 0.5), sources=100),
    },
}


@pytest.fixture
def run(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """`evaluate` on a dozen questions, two at a time."""
    monkeypatch.setattr(_run, "CHUNK", 2)
    data = quiz.write(tmp_path)
    return lambda out, **options: evaluate(model, "truthfulqa", data=data, out=out, **options)


def interrupt(monkeypatch: pytest.MonkeyPatch, module: object, after: int) -> None:
    """Ctrl-C once `measure` has been called so many times from a module."""
    real, calls = module.measure, []

    def measure(*args: Any) -> list[dict[str, Any]]:
        calls.append(args)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, "measure", measure)


def lines(folder: Path) -> int:
    return (folder / "rows.jsonl").read_bytes().count(b"\n")


def same(one: Evaluation, other: Evaluation) -> bool:
    return one.rows == other.rows and (
        one.summary | {"seconds": 0} == other.summary | {"seconds": 0}
    )


@pytest.mark.parametrize(("way", "arms"), [("plan", 8), ("method", 9)])
def test_a_run_that_was_killed_goes_on_to_the_same_end(
    run: Evaluate, tmp_path: Path, way: str, arms: int
) -> None:
    whole = run(tmp_path / "whole", **WAYS[way])
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, _run, after=arms + 3)  # in the midst of the second chunk
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", **WAYS[way])
    assert lines(tmp_path / "killed") == 2
    assert not (tmp_path / "killed" / "summary.json").exists()
    again = run(tmp_path / "killed", **WAYS[way])
    assert same(again, whole)
    files = [(tmp_path / name / "rows.jsonl").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]


def test_a_row_that_was_cut_off_is_measured_again(run: Evaluate, tmp_path: Path) -> None:
    whole = run(tmp_path / "out", **WAYS["plan"])
    path = tmp_path / "out" / "rows.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[: before.index(b"\n", len(before) // 2) + 40])
    again = run(tmp_path / "out", **WAYS["plan"])
    assert again.rows == whole.rows
    assert path.read_bytes() == before


def test_a_finished_run_is_not_measured_again(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "out", **WAYS["method"])
    interrupt(monkeypatch, _run, after=0)
    interrupt(monkeypatch, _tune, after=0)
    assert same(run(tmp_path / "out", **WAYS["method"]), whole)


def test_tuning_that_was_killed_keeps_the_methods_that_are_done(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", **WAYS["method"])
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, _tune, after=5)  # four settings of caa, the first of repe
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", **WAYS["method"])
    interrupt(monkeypatch, _tune, after=4)  # repe alone is tuned
    assert same(run(tmp_path / "killed", **WAYS["method"]), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "seed was 0, is 5"),
        ({"limit": 6}, "limit was None, is 6"),
        ({"prompt": "primer"}, "prompt was 'qa', is 'primer'"),
        ({"controls": False}, "controls was True, is False"),
        (
            {"plan": add(resid_post(1), tiny.vector(1))},
            "plan was '[0-9a-f]{64}', is '[0-9a-f]{64}'",
        ),
    ],
)
def test_a_folder_of_another_run_is_refused(
    run: Evaluate, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    run(tmp_path / "out", **WAYS["plan"])
    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    with pytest.raises(RunError, match=rf"holds another run \({message}\); choose another --out"):
        run(tmp_path / "out", **(WAYS["plan"] | change))
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before


def test_a_folder_with_other_data_is_refused(run: Evaluate, tmp_path: Path) -> None:
    run(tmp_path / "out")
    quiz.write(tmp_path, 11)
    with pytest.raises(RunError, match=r"\(data was '[0-9a-f]{64}', is '[0-9a-f]{64}'\)"):
        run(tmp_path / "out")
