import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import steer
from cli import Run
from steer._eval import _run
from steer.hooks import add, resid_post
from tiny import vector


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.safetensors"
    add(resid_post(2), vector(), strength=0.5).save(path)
    return path


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_list_names_the_tasks(run: Run) -> None:
    done = run("eval", "list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "misconceptions  popular false beliefs, MC1 and MC2; CC-BY-4.0; "
        "built in, written for steer",
        "truthfulqa      TruthfulQA, MC1 and MC2; Apache-2.0; "
        "TruthfulQA.csv or JSONL of github.com/sylinrl/TruthfulQA",
    ]


def test_the_model_alone(run: Run, saved: Path) -> None:
    done = run("eval", "misconceptions", "--model", saved, "--limit", 3, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert f"misconceptions on {saved}, 3 questions" in " ".join(done.out.split())
    assert "base" in done.out
    assert "steered" not in done.out


def test_a_plan(run: Run, saved: Path, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        *("eval", "misconceptions", "--model", saved, "--plan", plan, "--limit", 5),
        *("--no-controls", "--out", out, "--quiet"),
    )
    assert (done.code, done.err) == (0, "")
    assert [row["id"] for row in _rows(out)] == [0, 1, 2, 3, 4]
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["items"], summary["plan"]) == (5, steer.Plan.load(plan).hash)
    expected = sum(row["steered"]["mc2"] for row in _rows(out)) / 5
    assert summary["steered"]["mc2"]["value"] == pytest.approx(expected, abs=1e-6)
    assert f"{expected:.3f} [" in done.out
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_a_method_is_tuned_on_one_half(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        *("eval", "misconceptions", "--model", saved, "--method", "caa", "--limit", 8),
        *("--layers", "1,2", "--seed", 3, "--out", out, "--quiet"),
    )
    assert (done.code, done.err) == (0, "")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["items"] == 4
    assert summary["seed"] == 3
    assert summary["tuning"]["layer"] in (1, 2)
    arms = ("caa (steered)", "flipped", "random (mean of 5)")
    assert all(arm in done.out for arm in arms)
    assert steer.Plan.load(out / "caa.safetensors").meta["method"] == "caa"


def test_the_users_data_and_a_message_where_the_report_is(
    run: Run, saved: Path, tmp_path: Path
) -> None:
    table, out = tmp_path / "TruthfulQA.csv", tmp_path / "out"
    table.write_text(
        "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
        '"A","B","Is the sky blue ?","yes .","yes .; it is blue .","no .; it is red .","C"\n'
    )
    done = run("eval", "truthfulqa", "--model", saved, "--data", table, "--out", out)
    assert done.code == 0
    assert done.err.splitlines()[-1] == f"steer: wrote {out / 'report.html'}"
    assert _rows(out)[0]["choices"] == ["yes .", "no .", "it is red .", "it is blue ."]


def test_an_interrupted_run_goes_on(
    run: Run, saved: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_run, "CHUNK", 2)

    def evaluate(out: Path) -> tuple[object, str]:
        words = ("--model", saved, "--plan", plan, "--no-controls", "--limit", 6, "--quiet")
        done = run("eval", "misconceptions", *words, "--out", out)
        return done.code, done.err

    measured: Callable[..., Any] = _run.measure
    calls: list[int] = []

    def stop_at_the_fourth(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measured(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_run, "measure", stop_at_the_fourth)
        code, err = evaluate(tmp_path / "stopped")
    assert (code, err) == (130, "steer: interrupted; the same command goes on from there\n")
    assert [row["id"] for row in _rows(tmp_path / "stopped")] == [0, 1]
    assert evaluate(tmp_path / "stopped") == (0, "")
    assert evaluate(tmp_path / "whole") == (0, "")
    assert _rows(tmp_path / "stopped") == _rows(tmp_path / "whole")


def test_another_run_in_the_same_folder_is_refused(run: Run, saved: Path, tmp_path: Path) -> None:
    words = ("eval", "misconceptions", "--model", saved, "--out", tmp_path / "out", "--quiet")
    assert run(*words, "--limit", 2).code == 0
    done = run(*words, "--limit", 3)
    assert done == (
        1,
        "",
        f"steer: {tmp_path / 'out'} holds another run (limit was 2, is 3); choose another --out\n",
    )
    assert len(_rows(tmp_path / "out")) == 2
