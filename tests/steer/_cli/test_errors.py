"""An expected failure is exit code 1 and one line on stderr that says what to do."""

import json
import re
from pathlib import Path

import pytest

from cli import Outcome, Run
from steer.hooks import DataError, add, resid_post
from tiny import vector

CHOSEN = {"prompt": "Is it ?", "chosen": "yes", "rejected": "no"}
ZOO = "expected a name of the zoo (smollm2, gemma3-270m), a folder with config.json, a .gguf file"


def _failed(outcome: Outcome, line: str) -> None:
    assert outcome == (1, "", f"steer: {line}\n")


@pytest.fixture
def extract(run: Run, saved: Path, pairs: Path, tmp_path: Path) -> Run:
    """`steer extract` with good arguments, each of which a test may replace."""

    def with_changes(method: str = "caa", **changes: object) -> Outcome:
        options = {"model": saved, "pairs": pairs, "out": tmp_path / "p"} | changes
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return run("extract", method, *words, "--quiet")

    return with_changes


@pytest.mark.parametrize("command", ["extract caa --pairs {pairs} --out p", "eval misconceptions"])
def test_unknown_model(run: Run, pairs: Path, command: str) -> None:
    done = run(*command.format(pairs=pairs).split(), "--model", "no-such-model", "--quiet")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(
        r"steer: load: no model can be loaded from the name 'no-such-model' \([^\n]+\); "
        rf"{re.escape(ZOO)} or a hub id\n",
        done.err,
    )


def test_unknown_device_and_dtype(extract: Run) -> None:
    _failed(
        extract(dtype="int3"),
        "load: unknown dtype 'int3'; expected auto, float32, bfloat16, float16",
    )
    done = extract(device="gpu")
    assert done.code == 1
    assert re.fullmatch(r"steer: load: cannot use device 'gpu' \([^\n]+\); try 'auto'\n", done.err)


def test_unknown_method(extract: Run, run: Run, saved: Path) -> None:
    known = "expected one of caa, grains, repe"
    _failed(extract("cca"), f"unknown method 'cca'; {known}")
    done = run("eval", "misconceptions", "--model", saved, "--method", "cca", "--quiet")
    _failed(done, f"unknown method 'cca'; {known}")


def test_layer_out_of_range(extract: Run) -> None:
    message = "site resid_post.4: the model has 4 layers, numbered 0 to 3"
    _failed(extract(layers="1,4"), message)


def test_missing_pairs(extract: Run, tmp_path: Path) -> None:
    _failed(extract(pairs=tmp_path / "none.jsonl"), f"no file {tmp_path / 'none.jsonl'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "{path}: no rows in it"),
        (f"{json.dumps(CHOSEN)}\n{{'a'\n", "{path}, line 2: not JSON (Expecting property name "),
        (f"{json.dumps(CHOSEN)}\n[]\n", "{path}, line 2: expected an object, got list"),
        (
            json.dumps(CHOSEN | {"rejected": "yes "}),
            "{path}: pair 0: Pair: chosen and rejected are the same, 'yes'; "
            "a pair needs two different answers",
        ),
        (
            json.dumps(CHOSEN) + "\n" + json.dumps(CHOSEN | {"chosen": " "}),
            "{path}: pair 1: Pair: 'chosen' must be a non-empty text, got ' '",
        ),
        (
            '{"prompt": "Is it ?", "chosen": "yes"}',
            "{path}: pair 0: no 'rejected' in it; expected the keys prompt, chosen and rejected",
        ),
    ],
)
def test_pairs_that_cannot_be_used(
    extract: Run, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    done = extract(pairs=path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"steer: {message.format(path=path)}")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "p").exists()


def test_the_plan_cannot_be_written(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "plan.safetensors"
    done = extract(out=out)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(rf"steer: Plan\.save: cannot write {out}: [^\n]+\n", done.err)


def test_a_plan_of_another_hidden_size(run: Run, saved: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.safetensors"
    add(resid_post(1), vector(size=16)).save(plan)
    done = run("eval", "misconceptions", "--model", saved, "--plan", plan, "--limit", 4, "--quiet")
    _failed(
        done,
        f"attach: the plan edits a hidden size of 16, but {saved} has 32 at resid_post.1; "
        "extract a plan from this model",
    )


def test_a_plan_of_a_deeper_model(run: Run, saved: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.safetensors"
    add(resid_post(9), vector()).save(plan)
    done = run("eval", "misconceptions", "--model", saved, "--plan", plan, "--limit", 4, "--quiet")
    _failed(done, "site resid_post.9: the model has 4 layers, numbered 0 to 3")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "eval misconceptions --plan none.st",
            "Plan.load: no file none.st; `steer extract` makes one",
        ),
        (
            "zoo pull smolm2",
            "zoo: unknown model 'smolm2'; expected one of smollm2, gemma3-270m",
        ),
    ],
)
def test_what_does_not_exist(run: Run, saved: Path, words: str, message: str) -> None:
    _failed(run(*words.format(saved=saved).split()), message)


def test_debug_shows_the_traceback(extract: Run, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    for words in (
        ("--debug", "extract", "caa", "--pairs", path, "--out", "p"),
        ("extract", "caa", "--pairs", path, "--out", "p", "--debug"),
    ):
        with pytest.raises(DataError, match=f"^no file {path}$"):
            run(*words)


def test_a_message_of_several_lines_becomes_one(
    run: Run, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise DataError("first line\n  second line\n")

    monkeypatch.setattr("steer._cli._extract.load", broken)
    _failed(run("extract", "caa", "--pairs", pairs, "--out", "p"), "first line second line")


def test_an_unexpected_error_is_never_hidden(
    run: Run, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("steer._cli._extract.load", broken)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        run("extract", "caa", "--pairs", pairs, "--out", "p")


def test_interrupted_is_130(run: Run, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for command in ("extract", "eval", "quickstart"):
        monkeypatch.setattr(f"steer._cli._{command}.load", stop)
    done = run("extract", "caa", "--pairs", pairs, "--out", "p")
    assert done == (130, "", "steer: interrupted\n")
    assert run("eval", "misconceptions") == (130, "", "steer: interrupted\n")
    goes_on = (130, "", "steer: interrupted; the same command goes on from there\n")
    assert run("eval", "misconceptions", "--out", "r") == goes_on
    assert run("eval", "misconceptions", "--out=r") == goes_on
    assert run("quickstart") == goes_on
