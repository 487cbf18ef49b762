import json
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
from cli import Outcome, Run
from steer import Plan
from steer.hooks import add, resid_post


@pytest.fixture
def sweep(run: Run, saved: Path, tmp_path: Path) -> Run:
    """`steer sweep truthfulqa` on a quick grid, with more words."""
    data = quiz.write(tmp_path)
    words = ["--model", saved, "--data", data, "--layers", "1,2", "--strengths", "0.2,0.5"]
    words += ["--sources", 2, "--randoms", 1, "--quiet"]
    return lambda *more: run("sweep", "truthfulqa", *words, *more)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_option_reaches_the_run(sweep: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = sweep(
        *("--methods", "caa, grains", "--steps", 2, "--metric", "mc1", "--rungs", 2),
        *("--side", "kl=neutral:3", "--side-limit", 50, "--limit", 10, "--prompt", "primer"),
        *("--cost", "perplexity=neutral:2", "--batch-tokens", 512, "--seed", 3, "--out", out),
    )
    assert (done.code, done.err) == (0, "")
    told = _read(out / "run.json")
    assert told["methods"] == ["caa", "grains"]
    assert told["tried"] == {
        "layers": [1, 2],
        "strengths": [0.2, 0.5],
        "sources": 2,
        "options": {"grains": {"steps": 2}},
        "metric": "mc1",
    }
    swept = told["sweep"]
    assert (swept["rungs"], swept["side"], swept["side_limit"]) == (2, "kl=neutral:3", 50.0)
    expected = {"seed": 3, "prompt": "primer", "batch_tokens": 512, "controls": 1, "pairs": None}
    assert {key: told[key] for key in expected} == expected
    assert told["numbers"].startswith("10 items, ")
    summary = _read(out / "summary.json")
    assert summary["items"] == 5
    assert list(summary["costs"]) == ["perplexity=neutral:2"]
    assert summary["command"].startswith("steer sweep truthfulqa --model ")
    best = Plan.load(out / f"{summary['sweep']['best']['method']}.safetensors")
    assert best.hash == summary["plan"]
    assert "The best of 8 plans on the tuning part" in done.out
    assert (out / "report.html").read_text().count("<svg") == 4


def test_the_defaults(sweep: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert sweep("--out", out).code == 0
    told = _read(out / "run.json")
    assert told["methods"] == ["caa"]
    swept = told["sweep"]
    assert (swept["rungs"], swept["side"], swept["side_limit"]) == (3, "kl=neutral:12", None)
    assert list(_read(out / "summary.json")["costs"]) == ["kl=neutral:12-60"]


def test_without_what_can_be_left_out(sweep: Run, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--side", "none", "--cost", "none", "--no-controls", "--pairs", pairs)
    done = sweep(*words, "--out", out)
    assert (done.code, done.err) == (0, "")
    summary = _read(out / "summary.json")
    assert (summary["sweep"]["side"], summary["costs"], summary["controls"]) == (None, {}, None)
    assert (summary["tuning"]["pairs"], summary["tuning"]["items"]) == (3, 6)
    assert "Not held against random vectors" in done.out


def test_a_plan_of_a_sweep_can_be_evaluated(
    sweep: Run, run: Run, saved: Path, tmp_path: Path
) -> None:
    assert sweep("--side", "none", "--cost", "none", "--out", tmp_path / "out").code == 0
    plan = tmp_path / "out" / "caa.safetensors"
    words = ("--model", saved, "--plan", plan, "--limit", 2, "--quiet", "--cost", "none")
    assert run("eval", "misconceptions", *words).code == 0


def _failed(done: Outcome, *parts: str) -> None:
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("steer: ")
    assert done.err.count("\n") == 1
    assert all(part in done.err for part in parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--methods", "cca"], ["unknown method 'cca'", "caa, grains, repe"]),
        (["--layers", "9"], ["site resid_post.9", "numbered 0 to 3"]),
        (["--metric", "mc3"], ["truthfulqa has no metric 'mc3'", "mc2, mc1"]),
        (["--side", "nothing"], ["unknown task 'nothing'"]),
        (["--side", "none", "--side-limit", "1"], ["the side limit 1.0 needs a side effect"]),
        (["--side-limit", "0"], ["no plan is within the side limit 0", "relax --side-limit"]),
        (["--limit", "2"], ["tuning needs at least 4 items"]),
        (["--data", "none.jsonl"], ["none.jsonl"]),
        (["--pairs", "none.jsonl"], ["no file none.jsonl"]),
    ],
)
def test_what_cannot_be_swept(sweep: Run, words: list[str], parts: list[str]) -> None:
    _failed(sweep("--cost", "none", *words), *parts)


def test_a_folder_of_another_run(sweep: Run, run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick = ("--side", "none", "--cost", "none", "--out", out)
    assert sweep(*quick).code == 0
    assert sweep(*quick).code == 0  # the same again
    _failed(sweep(*quick, "--rungs", 2), f"{out} holds another run (sweep was", "'rungs': 3")
    plan = tmp_path / "plan.safetensors"
    add(resid_post(1), tiny.vector()).save(plan)
    words = ("--model", saved, "--data", tmp_path / "quiz.jsonl", "--plan", plan, "--quiet")
    _failed(run("eval", "truthfulqa", *words, "--out", out), "holds another run", "is None")


def test_bad_usage(run: Run) -> None:
    for words, culprit in [
        ((), "task"),
        (("truthfulqa", "--rungs", 0), "--rungs"),
        (("misconceptions", "--layers", "1;2"), "expected layers as 10,14, got '1;2'"),
        (("misconceptions", "--strengths", "x"), "expected strengths as 0.15,0.3, got 'x'"),
    ]:
        done = run("sweep", *words)
        assert (done.code, done.out) == (2, "")
        assert culprit in done.err
