"""What `steer eval` refuses: one line on stderr, exit code 1, and nothing is left behind."""

from pathlib import Path

import pytest

import quiz
from cli import Run
from steer._tasks import TASKS
from steer.hooks import add, resid_post
from tiny import vector

DATA = "expected a .csv, .jsonl, .json or .txt file, or hub:owner/name[:config][/split][@revision]"
QUIZ = "eval truthfulqa --data {quiz} --model {saved}"


@pytest.fixture
def places(tmp_path: Path, saved: Path, pairs: Path) -> dict[str, Path]:
    plan, bad, other = (tmp_path / f"{name}.st" for name in ("plan", "bad", "other"))
    add(resid_post(1), vector(), strength=0.5).save(plan)
    add(resid_post(9), vector()).save(other)
    bad.write_bytes(b"no plan at all")
    return {
        "quiz": quiz.write(tmp_path),
        "plan": plan,
        "bad": bad,
        "other": other,
        "saved": saved,
        "pairs": pairs,
        "file": tmp_path / "quiz.jsonl",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval truthful", f"eval: unknown task 'truthful'; expected one of {', '.join(TASKS)}"),
        (
            "eval truthfulqa",
            "truthfulqa: needs --data FILE (TruthfulQA.csv or JSONL of "
            "github.com/sylinrl/TruthfulQA, as --data FILE)",
        ),
        (
            "eval truthfulqa --data none.csv",
            f"eval truthfulqa: no file and no named data 'none.csv'; {DATA}",
        ),
        (f"{QUIZ} --limit 2 --sample 2", "truthfulqa: give a limit or a sample, not both"),
        (
            f"{QUIZ} --prompt chat",
            "eval: truthfulqa has no prompt 'chat'; expected one of qa, primer",
        ),
        (
            f"{QUIZ} --system x",
            "eval: a system message needs the prompt chat, truthfulqa has qa",
        ),
        (f"{QUIZ} --judge phrases", "eval: truthfulqa needs no judge, got phrases"),
        (
            "eval refusal --model {saved} --judge gpt",
            "unknown judge 'gpt'; expected phrases, model:NAME, http://host/v1#model-name or "
            "https://host/v1#model-name",
        ),
        (
            f"{QUIZ} --max-new-tokens 5",
            "evaluate: got max_new_tokens=5; it must be at least 1, and truthfulqa generates "
            "nothing",
        ),
        (f"{QUIZ} --plan {{plan}} --method caa", "evaluate: give a plan or a method, not both"),
        (f"{QUIZ} --beside caa", "evaluate: beside needs a method to stand beside"),
        (
            f"{QUIZ} --plan {{plan}} --folds 2",
            "evaluate: folds are for a method; give one too, or leave them out",
        ),
        (
            f"{QUIZ} --pairs {{pairs}}",
            "evaluate: pairs are for a method; give one too, or leave them out",
        ),
        (
            f"{QUIZ} --layers 1",
            "eval: --layers and --strengths are what --method tries; name a method",
        ),
        (f"{QUIZ} --cost kl", "evaluate: costs are those of a plan; give a plan or a method"),
        (
            f"{QUIZ} --plan {{plan}} --cost kl=",
            "cost 'kl=': expected TASK, TASK=DATA, TASK=DATA:N or TASK=DATA:N-M",
        ),
        (
            "eval refusal --model {saved} --method caa",
            "refusal has no pairs to learn from; "
            "give --pairs FILE with prompt, chosen and rejected",
        ),
        (
            f"{QUIZ} --method caa --limit 3",
            "tuning needs at least 4 items for 2 parts, got 3; raise the limit",
        ),
        (
            f"{QUIZ} --method caa --layers 4",
            "site resid_post.4: the model has 4 layers, numbered 0 to 3",
        ),
        (f"{QUIZ} --batch-tokens 0", "evaluate: batch_tokens must be at least 1, got 0"),
        (
            f"{QUIZ} --plan {{other}}",
            "site resid_post.9: the model has 4 layers, numbered 0 to 3",
        ),
        ("eval refusal --model {saved} --limit 2", "{saved}: the tokenizer has no chat template; "),
        (f"{QUIZ} --plan {{bad}}", "Plan.load: "),
        (f"{QUIZ} --out {{file}}", "cannot write to {file}: "),
    ],
)
def test_what_is_refused(
    run: Run, places: dict[str, Path], tmp_path: Path, words: str, message: str
) -> None:
    given = words.format(**places).split()
    out = [] if "--out" in given else ["--out", tmp_path / "out"]
    done = run(*given, *out, "--quiet")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"steer: {message.format(**places)}")
    assert done.err.count("\n") == 1
    if not message.endswith((" ", ": ")):
        assert done.err == f"steer: {message.format(**places)}\n"
    assert (
        not list(tmp_path.glob("out/rows*.jsonl")) or not (tmp_path / "out/rows.jsonl").read_text()
    )
