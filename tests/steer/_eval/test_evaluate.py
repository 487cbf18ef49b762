import json
from math import exp
from pathlib import Path
from typing import Any

import pytest

import byhand
import quiz
import tiny
from steer._eval import Tuning, evaluate
from steer._stats import Column, mcnemar
from steer.hooks import DataError, Model, Plan, PlanError, TaskError, add, resid_post

SITE = resid_post(1)
VECTOR = tiny.vector(50)
QUICK = Tuning(layers=(1,), strengths=(0.2, 0.5), sources=100, options={"grains": {"steps": 2}})


def plan() -> Plan:
    return add(SITE, VECTOR, strength=2.0)


def plain(value: object) -> Any:
    """As it comes back from a JSON file."""
    return json.loads(json.dumps(value, allow_nan=False))


def by_hand(model: Model, strength: float) -> list[dict[str, float]]:
    """MC1 and MC2 of each question with a vector added to every token."""
    found = []
    for row in quiz.rows():
        prompt = model.tokenizer(f"Q: {row['question']} A:")["input_ids"]
        scores = {}
        with byhand.adding(model.anatomy.layers[1], strength * VECTOR, 0):
            for choice in row["correct_answers"] + row["incorrect_answers"]:
                ids = model.tokenizer(choice)["input_ids"]
                scores[choice] = byhand.score(model.hf, prompt, ids)
        false = [scores[choice] for choice in row["incorrect_answers"]]
        shares = [sum(map(exp, scores.values())), sum(map(exp, false))]
        mc1 = float(scores[row["best_answer"]] > max(false))
        found.append({"mc1": mc1, "mc2": 1 - shares[1] / shares[0]})
    return found


def mean(rows: list[dict[str, float]], metric: str) -> float:
    return sum(row[metric] for row in rows) / len(rows)


def test_a_plan_is_measured_beside_the_model_alone(model: Model, tmp_path: Path) -> None:
    found = evaluate(model, "truthfulqa", plan(), data=quiz.write(tmp_path), seed=1)
    base, steered = by_hand(model, 0.0), by_hand(model, 2.0)
    for metric in ("mc1", "mc2"):
        before, after = mean(base, metric), mean(steered, metric)
        assert found.summary["base"][metric]["value"] == pytest.approx(before, abs=1e-4)
        assert found.summary["steered"][metric]["value"] == pytest.approx(after, abs=1e-4)
        delta = found.summary["delta"][metric]["value"]
        assert delta == pytest.approx(after - before, abs=2e-4)
        flipped = found.summary["others"]["flipped"]["value"][metric]["value"]
        assert flipped == pytest.approx(mean(by_hand(model, -2.0), metric), abs=1e-4)
    for row, one, other in zip(found.rows, base, steered, strict=True):
        assert {m: row["base"][m] for m in one} == pytest.approx(one, abs=1e-4)
        assert {m: row["steered"][m] for m in other} == pytest.approx(other, abs=1e-4)
    won = mcnemar(
        Column.of([row["mc1"] for row in steered]), Column.of([row["mc1"] for row in base])
    )
    assert found.summary["delta"]["mc1"]["p"] == pytest.approx(won, abs=1e-6)


def test_the_random_arm_is_the_mean_of_five(model: Model, tmp_path: Path) -> None:
    found = evaluate(model, "truthfulqa", plan(), data=quiz.write(tmp_path))
    names = [f"random {n}" for n in range(5)]
    values = [row[name]["mc2"] for row in found.rows for name in names]
    steered = [row["steered"]["mc2"] for row in found.rows]
    random = found.summary["others"]["random"]
    assert random["value"]["mc2"]["value"] == pytest.approx(sum(values) / 60, abs=1e-6)
    over = sum(steered) / 12 - sum(values) / 60
    assert random["steered_over"]["mc2"]["value"] == pytest.approx(over, abs=1e-6)
    assert list(found.plans) == ["steered", "flipped", *names]
    assert found.summary["absent_controls"] == ["shuffled pair labels"]


def test_the_files_of_a_plan(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = quiz.write(tmp_path)
    found = evaluate(model, "truthfulqa", plan(), data=data, limit=5, seed=7, out=out)
    summary = json.loads((out / "summary.json").read_text())
    assert summary == plain(found.summary)
    expected = {"task": "truthfulqa", "model": "tiny-llama", "items": 5, "seed": 7}
    expected |= {"plan": plan().hash, "prompt": "qa", "controls": 5, "dtype": "float32"}
    assert {key: summary[key] for key in expected} == expected
    assert set(summary["base"]) == set(summary["steered"]) == {"mc1", "mc2"}
    assert summary["costs"] == {}
    assert summary["origin"] == f"file {data}"
    lines = (out / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == plain(list(found.rows))
    assert [json.loads(line)["id"] for line in lines] == [0, 1, 2, 3, 4]
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_a_model_alone_has_no_steered_arm(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = evaluate(model, "truthfulqa", data=quiz.write(tmp_path), out=out)
    assert found.plans == {}
    assert not {"steered", "delta", "others", "absent_controls"} & set(found.summary)
    assert found.summary["plan"] is None
    assert set(found.rows[0]) == {"id", "question", "choices", "base"}
    assert (out / "report.html").exists()


def test_a_method_is_tuned_on_one_half_and_reported_on_the_other(
    model: Model, tmp_path: Path
) -> None:
    found = evaluate(
        model,
        "truthfulqa",
        method="grains",
        beside=["caa", "grains"],
        tuning=QUICK,
        data=quiz.write(tmp_path),
        randoms=1,
    )
    summary = found.summary
    assert (summary["items"], len(found.rows)) == (6, 6)
    assert list(summary["chosen"]) == summary["methods"] == ["grains", "caa"]
    assert list(summary["others"]) == ["caa", "flipped", "shuffled", "random"]
    assert list(found.plans) == ["steered", "caa", "flipped", "shuffled", "random 0"]
    assert summary["absent_controls"] == []
    for name, arm in (("grains", "steered"), ("caa", "caa")):
        how = summary["chosen"][name]
        assert how["items"] == 3  # six questions tune, of which three judge
        assert (how["layer"], how["strength"]) in [(1, 0.2), (1, 0.5)]
        (item,) = found.plans[arm]
        assert (item.site, item.strength) == (SITE, how["strength"])
        best = max(how["grid"], key=lambda row: row["mc2"])
        assert (how["layer"], how["strength"]) == (best["layer"], best["strength"])
    first = summary["chosen"]["grains"]
    assert summary["tuning"] == {k: first[k] for k in ("items", "pairs", "layer", "strength")}
    assert summary["plan"] == first["plan"] == found.plans["steered"].hash
    shuffled = found.plans["shuffled"]
    assert [(i.site, i.strength) for i in shuffled] == [(SITE, first["strength"])]
    assert shuffled.hash != summary["plan"]


def test_without_controls_all_are_missing(model: Model, tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": "caa", "tuning": QUICK, "controls": False}
    found = evaluate(model, "truthfulqa", data=quiz.write(tmp_path), **options)
    assert list(found.plans) == ["steered"]
    assert found.summary["controls"] is None
    assert found.summary["absent_controls"] == [
        "random vectors",
        "the flipped vector",
        "shuffled pair labels",
    ]


def test_one_seed_gives_one_summary(model: Model, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "data": quiz.write(tmp_path),
        "method": "caa",
        "tuning": QUICK,
        "sample": 10,
    }

    def run(seed: int, out: Path | None = None) -> Any:
        found = evaluate(model, "truthfulqa", seed=seed, out=out, **options)
        return plain(found.summary | {"seconds": 0}), list(found.rows)

    here = run(1)
    assert run(1, tmp_path / "out") == here  # with a folder or without
    assert run(2)[1] != here[1]


def test_the_model_is_left_as_it_was(model: Model, tmp_path: Path) -> None:
    hooks = tiny.hook_count(model.hf)
    evaluate(model, "truthfulqa", method="grains", tuning=QUICK, data=quiz.write(tmp_path))
    assert tiny.hook_count(model.hf) == hooks
    assert all(p.requires_grad and p.grad is None for p in model.hf.parameters())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"plan": plan(), "method": "caa"}, DataError, "give a plan or a method, not both"),
        ({"plan": plan(), "folds": 2}, DataError, "folds are for a method; give one too"),
        (
            {"pairs": [{"prompt": "Is it ?", "chosen": "yes", "rejected": "no"}]},
            DataError,
            "pairs are for a method; give one too",
        ),
        ({"costs": ["kl"]}, DataError, "costs are those of a plan; give a plan or a method"),
        ({"beside": ["caa"]}, DataError, "evaluate: beside needs a method to stand beside"),
        ({"method": "iti"}, TaskError, "unknown method 'iti'; expected one of caa, grains, repe"),
        ({"method": "caa", "beside": ["x"]}, TaskError, "unknown method 'x'; expected one of caa"),
        ({"prompt": "chat"}, TaskError, "truthfulqa has no prompt 'chat'; expected one of qa"),
        ({"method": "caa", "limit": 3}, DataError, "tuning needs at least 4 items for 2 parts"),
        ({"method": "caa", "folds": 7}, DataError, "at least 14 items for 7 parts, got 12"),
        ({"limit": 0}, DataError, "truthfulqa: the limit must be at least 1, got 0"),
        ({"limit": 2, "sample": 2}, DataError, "truthfulqa: give a limit or a sample, not both"),
        ({"plan": add(SITE, tiny.vector(size=8))}, PlanError, "the plan edits a hidden size of 8"),
        ({"plan": plan(), "costs": ["nothing"]}, TaskError, "unknown task 'nothing'"),
    ],
)
def test_what_cannot_be_evaluated(
    model: Model, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(error, match=message):
        evaluate(model, "truthfulqa", data=quiz.write(tmp_path), out=out, **options)
    assert not out.exists()  # free for a second try


def test_pairs_made_of_reported_questions_are_pointed_out(tmp_path: Path) -> None:
    data = quiz.write(tmp_path)
    pairs = [
        {"prompt": f"Q: {row['question']}\nA:", "chosen": "yes", "rejected": "no"}
        for row in quiz.rows()
    ]
    for given, told in ((pairs, ["6 reported items occur in the pairs"]), (None, [])):
        found = evaluate(
            tiny.model(),
            "truthfulqa",
            method="caa",
            pairs=given,
            tuning=QUICK,
            data=data,
            controls=False,
        )
        assert [note[:35] for note in found.summary["notes"]] == told
