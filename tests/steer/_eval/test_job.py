"""How a task is run, and what tells one run from another."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import quiz
import tiny
from steer._eval import Tuning
from steer._eval._job import Job, job_of
from steer._judges import Exchange, phrases
from steer.hooks import DataError, Model, PlanError, SteerError, TaskError, add, resid_post

PLAN = add(resid_post(1), tiny.vector(50))
PAIRS = [{"prompt": "Is it ?", "chosen": "yes", "rejected": "no"}]


def job(folder: Path, task: str = "truthfulqa", **changes: Any) -> Job:
    options: dict[str, Any] = {
        "model": tiny.model(),
        "plan": None,
        "methods": [],
        "pairs": None,
        "tuning": None,
        "folds": 1,
        "data": quiz.write(folder) if task == "truthfulqa" else None,
        "limit": None,
        "sample": None,
        "controls": True,
        "randoms": None,
        "out": None,
        "seed": 0,
        "prompt": None,
        "system": None,
        "max_new_tokens": None,
        "judges": None,
        "batch_tokens": 1024,
        "progress": False,
    }
    whole = options | changes
    return job_of(whole.pop("model"), task, whole.pop("plan"), **whole)


def changed(one: Job, other: Job) -> set[str]:
    return {key for key in one.identity if one.identity[key] != other.identity[key]}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, set()),
        ({"progress": True, "out": "elsewhere"}, set()),
        ({"model": tiny.model(seed=1)}, {"weights"}),
        ({"model": tiny.model("gpt2")}, {"model", "weights"}),
        ({"limit": 5}, {"numbers"}),
        ({"sample": 5}, {"numbers"}),
        ({"sample": 5, "seed": 1}, {"numbers", "seed"}),
        ({"prompt": "primer"}, {"prompt"}),
        ({"batch_tokens": 64}, {"batch_tokens"}),
        ({"plan": PLAN}, {"plan"}),
        ({"methods": ["caa"]}, {"methods", "tried", "folds"}),
        ({"methods": ["caa"], "pairs": PAIRS}, {"methods", "tried", "folds", "pairs"}),
        ({"controls": False}, {"controls"}),
        ({"randoms": 2}, {"controls"}),
        ({"seed": 1}, {"seed"}),
    ],
)
def test_what_makes_another_run(tmp_path: Path, options: dict[str, Any], keys: set[str]) -> None:
    assert changed(job(tmp_path), job(tmp_path, **options)) == keys


def test_what_tuning_tries_makes_another_run(tmp_path: Path) -> None:
    one = job(tmp_path, methods=["caa"])
    other = job(tmp_path, methods=["caa"], tuning=Tuning(layers=(1,)))
    assert changed(one, other) == {"tried"}


def test_other_data_are_another_run(tmp_path: Path) -> None:
    one, path = job(tmp_path), tmp_path / "other.jsonl"
    path.write_text((tmp_path / "quiz.jsonl").read_text().replace("Paris", "Rome"))
    assert changed(one, job(tmp_path, data=path)) == {"data", "origin"}


def test_defaults_are_those_of_the_task(tmp_path: Path) -> None:
    known = job(tmp_path).identity
    assert (known["prompt"], known["controls"], known["max_new_tokens"]) == ("qa", 5, None)
    assert known["judges"] == {}
    with pytest.raises(DataError, match="no chat template"):  # before anything is run
        job(tmp_path, "refusal")
    known = job(tmp_path, "refusal", prompt="qa").identity
    assert (known["prompt"], known["controls"], known["max_new_tokens"]) == ("qa", 2, 64)
    assert known["judges"] == {"phrases": None}


def test_judges_by_name_and_as_functions(tmp_path: Path) -> None:
    def mine(exchanges: list[Exchange]) -> list[float | None]:
        return [0.0] * len(exchanges)

    assert dict(job(tmp_path, "refusal", prompt="qa", judges=["phrases"]).setting.judges) == {
        "phrases": phrases
    }
    given = job(tmp_path, "refusal", prompt="qa", judges={"mine": mine, "phrases": phrases})
    assert list(given.identity["judges"]) == ["mine", "phrases"]
    assert given.setting.judges["mine"] is mine
    assert job(tmp_path, "refusal", prompt="qa", judges=[]).identity["judges"] == {}


def test_arms(tmp_path: Path) -> None:
    whole = job(tmp_path, randoms=1)
    beside = {"caa": add(resid_post(1), tiny.vector(2))}
    shuffled = add(resid_post(1), tiny.vector(3))
    names = ["base", "steered", "caa", "flipped", "shuffled", "random 0"]
    assert list(whole.arms(PLAN, beside, shuffled)) == names
    assert whole.arms(None) == {"base": None}
    assert list(job(tmp_path, controls=False).arms(PLAN, beside)) == ["base", "steered", "caa"]


@pytest.mark.parametrize(
    ("task", "options", "error", "message"),
    [
        ("truthfulqa", {"randoms": -1}, DataError, "randoms must be at least 0, got -1"),
        ("truthfulqa", {"seed": -1}, DataError, r"a seed from 0 to 2\*\*32 - 1, got -1"),
        ("truthfulqa", {"seed": 2**32}, DataError, r"a seed from 0 to 2\*\*32 - 1, got 4294967296"),
        ("truthfulqa", {"batch_tokens": 0}, DataError, "batch_tokens must be at least 1, got 0"),
        ("truthfulqa", {"max_new_tokens": 5}, DataError, "truthfulqa generates nothing"),
        ("refusal", {"max_new_tokens": 0}, DataError, "it must be at least 1"),
        ("truthfulqa", {"judges": ["phrases"]}, TaskError, "needs no judge, got phrases"),
        ("truthfulqa", {"judges": {"mine": phrases}}, TaskError, "needs no judge, got mine"),
        ("refusal", {"judges": ["gpt"]}, TaskError, "unknown judge 'gpt'; expected phrases, "),
        ("truthfulqa", {"system": "x"}, TaskError, "a system message needs the prompt chat"),
        ("truthfulqa", {"prompt": "plain"}, TaskError, "no prompt 'plain'; expected one of qa, "),
        ("refusal", {"methods": ["caa"]}, DataError, "refusal has no pairs to learn from; give"),
        (
            "truthfulqa",
            {"methods": ["caa"], "tuning": Tuning(metric="mc3")},
            DataError,
            "truthfulqa has no metric 'mc3'",
        ),
        (
            "truthfulqa",
            {"methods": ["caa"], "tuning": Tuning(layers=(4,))},
            SteerError,
            "the model has 4 layers, numbered 0 to 3",
        ),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, task: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        job(tmp_path, task, **options)


def test_a_path_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"expected a Plan, got str; see Plan\.load"):
        replace(job(tmp_path), plan="plan.safetensors")


def test_the_model_is_not_steered_by_checking(model: Model, tmp_path: Path) -> None:
    hooks = tiny.hook_count(model.hf)
    job(tmp_path, model=model, plan=PLAN)
    assert tiny.hook_count(model.hf) == hooks


def test_a_plan_for_rows_is_refused(tmp_path: Path) -> None:
    rows = PLAN.at(torch.tensor([0.0, 5.0]))
    with pytest.raises(PlanError, match="a strength or mask for each row"):
        job(tmp_path, plan=rows)


def test_another_tokenizer_or_template_makes_another_run(tmp_path: Path) -> None:
    one = job(tmp_path)
    other = job(tmp_path)
    other.setting.model.tokenizer.chat_template = "{{ messages }}"
    assert changed(one, other) == {"tokenizer"}
