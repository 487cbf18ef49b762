import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quiz
import steer
from cli import Run
from steer._sources import NAMED
from steer._tasks import TASKS
from steer.hooks import add, resid_post
from tiny import vector


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.safetensors"
    add(resid_post(2), vector(), strength=0.5).save(path)
    return path


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_list_names_every_task_with_its_licence_and_source(run: Run) -> None:
    done = run("eval", "list")
    assert (done.code, done.err) == (0, "")
    lines = iter(done.out.splitlines())
    for task in TASKS.values():
        line = next(lines)
        assert line.split()[0] == task.name
        assert line.endswith(f" {task.about}; {task.licence}; {task.source}")
        if task.named:  # every name that --data takes, with its own licence
            names = [f"{name} ({NAMED[name].licence})" for name in task.named]
            assert next(lines).strip() == f"--data {', '.join(names)}; without it {task.default}"
        assert task.about
        assert task.licence
        assert task.source
    assert not list(lines)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_what_the_list_says_of_data_is_true(task: Any) -> None:
    assert set(task.named) <= set(NAMED)
    assert task.default is None or task.default in task.named
    for name in re.findall(r"`(?:--data )?([a-z-]+)`", task.source):
        assert name in task.named
    # A task without data of its own says how to give it some.
    assert task.default is not None or re.search("--data FILE|JSONL", task.source)


def test_the_model_alone(run: Run, saved: Path) -> None:
    done = run("eval", "misconceptions", "--model", saved, "--limit", 3, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"misconceptions on {saved}, 3 items"
    assert "base" in done.out
    assert "steered" not in done.out
    assert "Not held against" not in done.out


def test_a_plan(run: Run, saved: Path, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--plan", plan, "--limit", 5, "--no-controls", "--out", out, "--quiet")
    done = run("eval", "misconceptions", "--model", saved, *words)
    assert (done.code, done.err) == (0, "")
    assert [row["id"] for row in _rows(out)] == [0, 1, 2, 3, 4]
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["items"], summary["plan"]) == (5, steer.Plan.load(plan).hash)
    expected = sum(row["steered"]["mc2"] for row in _rows(out)) / 5
    assert summary["steered"]["mc2"]["value"] == pytest.approx(expected, abs=1e-6)
    assert f"{expected:.3f} [" in done.out
    assert [cost.split("=")[0] for cost in summary["costs"]] == ["kl"]  # by default
    assert "What it costs elsewhere" in done.out
    note = (
        "Not held against random vectors, the flipped vector, shuffled pair labels: "
        "a gain may be due to what they would show."
    )
    assert done.out.splitlines()[-1] == note
    page = (out / "report.html").read_text()
    assert note in page
    assert summary["command"].startswith("steer eval misconceptions --model ")
    assert f"<pre>{summary['command']}</pre>" in page


def test_a_method_is_tuned_on_one_half(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        *("eval", "misconceptions", "--model", saved, "--method", "caa", "--limit", 8),
        *("--layers", "1,2", "--seed", 3, "--cost", "none", "--out", out, "--quiet"),
    )
    assert (done.code, done.err) == (0, "")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["items"] == 4
    assert summary["seed"] == 3
    assert summary["costs"] == {}
    assert summary["tuning"]["layer"] in (1, 2)
    arms = ("caa (steered)", "flipped", "shuffled", "random (mean of 5)")
    assert all(arm in done.out for arm in arms)
    assert "Not held against" not in done.out
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


def test_names_with_brackets_are_shown_as_they_are(run: Run, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "[bold]model[").mkdir()
    folder = tmp_path / "[bold]model[" / "red]"
    folder.symlink_to(saved, target_is_directory=True)
    done = run("eval", "misconceptions", "--model", folder, "--limit", 2, "--quiet")
    assert done.out.splitlines()[0] == f"misconceptions on {folder}, 2 items"


def test_an_interrupted_run_goes_on(
    run: Run, saved: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS["misconceptions"]
    calls: list[int] = []
    measured: Callable[..., Any] = task.measure

    def stop_at_the_second(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measured(*arguments)

    def evaluate(out: Path) -> tuple[object, str]:
        words = ("--plan", plan, "--no-controls", "--limit", 6, "--cost", "none", "--quiet")
        done = run("eval", "misconceptions", "--model", saved, *words, "--out", out)
        return done.code, done.err

    monkeypatch.setitem(TASKS, task.name, replace(task, chunk=2))
    with monkeypatch.context() as patch:
        stopping = replace(task, chunk=2, measure=stop_at_the_second)
        patch.setitem(TASKS, task.name, stopping)
        code, err = evaluate(tmp_path / "stopped")
    assert (code, err) == (130, "steer: interrupted; the same command goes on from there\n")
    assert [row["id"] for row in _rows(tmp_path / "stopped")] == [0, 1]
    assert evaluate(tmp_path / "stopped") == (0, "")
    assert evaluate(tmp_path / "whole") == (0, "")
    assert _rows(tmp_path / "stopped") == _rows(tmp_path / "whole")


def test_another_run_in_the_same_folder_is_refused(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("eval", "truthfulqa", "--data", quiz.write(tmp_path), "--model", saved, "--quiet")
    assert run(*words, "--limit", 2, "--out", out).code == 0
    done = run(*words, "--limit", 3, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(
        rf"steer: {re.escape(str(out))} holds another run \(numbers was '2 items, \w{{12}}', "
        r"is '3 items, \w{12}'\); choose another --out\n",
        done.err,
    )
    assert len(_rows(out)) == 2
