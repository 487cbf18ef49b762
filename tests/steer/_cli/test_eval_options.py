"""Every option of `steer eval` reaches the library: it shows in what the run writes down."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
from cli import Run
from steer import Pair

TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}A:"
METHOD = ("--method", "caa", "--strengths", "0.2", "--cost", "none", "--no-controls")
ANSWERS = ("--limit", 2, "--max-new-tokens", 3)
TRIED = {
    "layers": None,
    "strengths": [0.15, 0.3, 0.45, 0.6],
    "sources": 150,
    "options": {"grains": {"steps": 20}},
    "metric": None,
}


@pytest.fixture
def chatting(tmp_path: Path) -> Path:
    """The tiny model with a chat template."""
    folder = tmp_path / "chatting"
    tiny.network().save_pretrained(folder)
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def written(run: Run, out: Path, *words: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `run.json` and `summary.json` say."""
    done = run("eval", *words, "--out", out, "--device", "cpu", "--quiet")
    assert (done.code, done.err) == (0, "")
    return tuple(json.loads((out / name).read_text()) for name in ("run.json", "summary.json"))


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), {"prompt": "qa", "seed": 0, "batch_tokens": 1024, "dtype": "float32"}),
        ((), {"plan": None, "methods": [], "tried": None, "folds": None, "system": None}),
        (("--prompt", "primer"), {"prompt": "primer"}),
        (("--seed", 7), {"seed": 7}),
        (("--batch-tokens", 200), {"batch_tokens": 200}),
        (("--dtype", "bfloat16"), {"dtype": "bfloat16"}),
        (("--limit", 3), {"numbers": f"3 items, {digest([0, 1, 2])[:12]}"}),
        (("--no-controls",), {"controls": None}),
        (("--randoms", 3), {"controls": 3}),
        ((*METHOD, "--beside", "repe"), {"methods": ["caa", "repe"], "folds": 1}),
        ((*METHOD, "--folds", 2), {"folds": 2}),
        ((*METHOD, "--layers", "1,2"), {"tried": TRIED | {"layers": [1, 2], "strengths": [0.2]}}),
        ((*METHOD, "--sources", 2), {"tried": TRIED | {"sources": 2, "strengths": [0.2]}}),
        (
            (*METHOD, "--steps", 3),
            {"tried": TRIED | {"options": {"grains": {"steps": 3}}, "strengths": [0.2]}},
        ),
    ],
)
def test_choices(
    run: Run, saved: Path, tmp_path: Path, words: tuple[object, ...], told: dict[str, Any]
) -> None:
    data = quiz.write(tmp_path)
    common = ("truthfulqa", "--model", saved, "--data", data)
    identity, summary = written(run, tmp_path / "out", *common, *words)
    for found in (identity, summary):
        assert {key: found[key] for key in told} == told
    assert (identity["task"], identity["model"]) == ("truthfulqa", str(saved))
    assert identity["origin"] == f"file {data}"
    assert identity["data"] == hashlib.sha256(data.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), {"prompt": "chat", "max_new_tokens": 3, "judges": {"phrases": None}, "controls": 2}),
        (("--system", "Is it ?"), {"system": "Is it ?"}),
        (("--prompt", "plain"), {"prompt": "plain"}),
        (("--judge", "phrases", "--judge", "phrases"), {"judges": {"phrases": None}}),
        (("--data", "requests"), {"origin": "built-in requests"}),
    ],
)
def test_answers(
    run: Run, chatting: Path, tmp_path: Path, words: tuple[object, ...], told: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    identity, _ = written(run, out, "refusal", "--model", chatting, *ANSWERS, *words)
    assert {key: identity[key] for key in told} == told
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert all(row["base"]["tokens"] <= 3 for row in rows)


def test_a_sample_is_drawn_by_the_seed(run: Run, saved: Path, tmp_path: Path) -> None:
    words = ("truthfulqa", "--model", saved, "--data", quiz.write(tmp_path), "--sample", 4)
    found = [written(run, tmp_path / str(seed), *words, "--seed", seed)[0] for seed in (1, 2)]
    assert [one["numbers"].split(",")[0] for one in found] == ["4 items", "4 items"]
    assert found[0]["numbers"] != found[1]["numbers"]


def test_pairs_of_a_file(run: Run, saved: Path, pairs: Path, tmp_path: Path) -> None:
    words = ("truthfulqa", "--model", saved, "--data", quiz.write(tmp_path), *METHOD)
    identity, summary = written(run, tmp_path / "out", *words, "--pairs", pairs)
    given = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert identity["pairs"] == digest([asdict(Pair(**pair)) for pair in given])
    assert summary["tuning"]["pairs"] == len(given) == 3


def test_costs(run: Run, saved: Path, tmp_path: Path) -> None:
    data, text = quiz.write(tmp_path), tmp_path / "text.txt"
    text.write_text("the sky is blue .")
    words = ("truthfulqa", "--model", saved, "--data", data, *METHOD[:4], "--randoms", 0)
    costs = (f"perplexity={text}", f"truthfulqa={data}:3")
    given = [word for cost in costs for word in ("--cost", cost)]
    _, summary = written(run, tmp_path / "out", *words, *given)
    assert list(summary["costs"]) == list(costs)
    assert [cost["items"] for cost in summary["costs"].values()] == [1, 3]
    assert summary["absent_controls"] == ["random vectors"]


def test_without_quiet_there_are_bars(run: Run, saved: Path, tmp_path: Path) -> None:
    done = run("eval", "truthfulqa", "--model", saved, "--data", quiz.write(tmp_path))
    assert "evaluating" in done.err
