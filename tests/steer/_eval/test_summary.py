"""The numbers of a summary, worked out by hand from a few rows."""

import json
from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import pytest

import tiny
from steer._eval._items import Items
from steer._eval._rows import Rows
from steer._eval._run import Part
from steer._eval._summary import summarise
from steer._tasks import Metric, Request, Task
from steer.hooks import add, resid_post

PLAN = add(resid_post(1), tiny.vector(1))
OTHER = add(resid_post(1), tiny.vector(2))
IDENTITY = {"task": "toy", "model": "m", "seed": 3, "methods": [], "controls": 2, "plan": None}
Results = Sequence[Mapping[str, Any]]


def task(*metrics: Metric, question: str | None = None) -> Task:
    def measure(*_: object) -> dict[str, list[dict[str, Any]]]:
        raise AssertionError("nothing is run")

    return Task(
        name="toy",
        about="",
        source="",
        licence="",
        metrics=metrics,
        item=lambda row, n: Request(n, str(row)),
        measure=measure,
        question=question,
    )


def part(toy: Task, arms: Sequence[str], plan: Any = PLAN, chosen: Any = None) -> Part:
    plans = {arm: None if arm == "base" else plan for arm in arms}
    return Part(Items(toy, [], []), plans, chosen or {})


def summary_of(tmp_path: Path, toy: Task, arms: Mapping[str, Results]) -> dict[str, Any]:
    rows = Rows(tmp_path / "out", IDENTITY)
    names = list(arms)
    each = zip(*arms.values(), strict=True)
    rows.append(
        [
            {"id": n, "prompt": f"ask {n}"} | dict(zip(names, results, strict=True))
            for n, results in enumerate(each)
        ]
    )
    return summarise(rows, toy, [part(toy, names)], IDENTITY, 1.26)


def column(name: str, *values: Any) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


RIGHT = Metric("right", "is right", "higher")
SCORE = Metric("score", "a score", "higher", proportion=False)
LOSS = Metric(
    "perplexity",
    "",
    "lower",
    proportion=False,
    value="nll",
    weight="tokens",
    exponential=True,
)


def test_a_share_has_wilsons_interval_and_mcnemars_p(tmp_path: Path) -> None:
    arms = {
        "base": column("right", 0.0, 0.0, 0.0, 0.0, 1.0, 1.0),
        "steered": column("right", 1.0, 1.0, 1.0, 1.0, 0.0, 1.0),
    }
    found = summary_of(tmp_path, task(RIGHT), arms)
    # (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), p = 1/3, n = 6, z = 1.96
    assert found["base"]["right"] == {
        "value": 0.333333,
        "low": 0.0967714,
        "high": 0.700007,
        "items": 6,
    }
    delta = found["delta"]["right"]
    assert delta["value"] == 0.5
    assert delta["p"] == 0.375  # 4 won, 1 lost: 2 (1 + 5) / 2^5
    assert delta["low"] < 0.5 < delta["high"]
    assert (found["items"], found["seconds"], found["seed"]) == (6, 1.3, 3)
    assert found["metrics"] == [{"name": "right", "about": "is right", "better": "higher"}]


def test_a_mean_and_its_paired_gain(tmp_path: Path) -> None:
    arms = {
        "base": column("score", 0.125, 0.25, 0.5),
        "steered": column("score", 0.25, 0.375, 0.625),
    }
    found = summary_of(tmp_path, task(SCORE), arms)
    assert found["base"]["score"]["value"] == 0.291667
    assert found["steered"]["score"]["value"] == 0.416667
    # Every item gains the same, so every resample does.
    told = {key: found["delta"]["score"][key] for key in ("value", "low", "high", "mde")}
    assert told == {"value": 0.125, "low": 0.125, "high": 0.125, "mde": None}


def test_a_perplexity_weighs_items_by_their_tokens(tmp_path: Path) -> None:
    def arm(first: float, second: float) -> list[dict[str, float]]:
        return [{"nll": first, "tokens": 30}, {"nll": second, "tokens": 10}]

    arms = {"base": arm(1.0, 2.0), "steered": arm(0.5, 3.0)}
    found = summary_of(tmp_path, task(LOSS), arms)
    assert found["base"]["perplexity"]["value"] == pytest.approx(exp(1.25), rel=1e-5)
    assert found["steered"]["perplexity"]["value"] == pytest.approx(exp(1.125), rel=1e-5)
    gain = exp(1.125) - exp(1.25)
    assert found["delta"]["perplexity"]["value"] == pytest.approx(gain, rel=1e-5)


def test_the_random_arm_is_the_mean_of_all(tmp_path: Path) -> None:
    arms = {
        "base": column("right", 0.0, 1.0),
        "steered": column("right", 1.0, 1.0),
        "random 0": column("right", 0.0, 1.0),
        "random 1": column("right", 0.0, 0.0),
    }
    found = summary_of(tmp_path, task(RIGHT), arms)
    random = found["others"]["random"]
    assert list(found["others"]) == ["random"]
    assert random["value"]["right"]["value"] == 0.25
    assert random["delta"]["right"]["value"] == -0.25
    assert random["steered_over"]["right"]["value"] == 0.75
    # Item means of 0 and 0.5 are no outcomes of 0 and 1, so the p is not McNemar's, which is 1.
    assert random["delta"]["right"]["p"] != 1.0


def test_items_without_a_value_take_no_part(tmp_path: Path) -> None:
    found = summary_of(tmp_path, task(RIGHT), {"base": column("right", 1.0, None, 0.0, None)})
    assert found["base"]["right"]["value"] == 0.5
    assert found["items"] == 4


def test_a_metric_that_no_item_has_is_left_out(tmp_path: Path) -> None:
    never = Metric("never", "")
    arms = {"base": column("right", 1.0, 0.0), "steered": column("right", 1.0, 0.0)}
    found = summary_of(tmp_path, task(never, RIGHT), arms)
    assert [metric["name"] for metric in found["metrics"]] == ["right"]
    assert list(found["base"]) == list(found["steered"]) == list(found["delta"]) == ["right"]


def test_what_cannot_be_known_is_null(tmp_path: Path) -> None:
    nan = float("nan")
    arms = {"base": column("score", 0.5, 1.0), "steered": column("score", nan, nan)}
    found = summary_of(tmp_path, task(SCORE), arms)
    assert found["steered"]["score"] == dict.fromkeys(("value", "low", "high")) | {"items": 0}
    assert set(found["delta"]["score"].values()) == {None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_single_item_has_no_interval(tmp_path: Path) -> None:
    arms = {"base": column("score", 0.5), "steered": column("score", 0.25)}
    found = summary_of(tmp_path, task(SCORE), arms)
    assert found["base"]["score"] == {"value": 0.5, "low": None, "high": None, "items": 1}
    gain = {"value": -0.25, "low": None, "high": None, "p": None, "mde": None}
    assert found["delta"]["score"] == gain


@pytest.mark.parametrize(
    ("others", "absent"),
    [
        ([], ["random vectors", "the flipped vector", "shuffled pair labels"]),
        (["caa"], ["random vectors", "the flipped vector", "shuffled pair labels"]),
        (["flipped", "random 0"], ["shuffled pair labels"]),
        (["flipped", "shuffled"], ["random vectors"]),
        (["flipped", "shuffled", "random 0", "random 1"], []),
    ],
)
def test_controls_that_are_missing_are_named(
    tmp_path: Path, others: list[str], absent: list[str]
) -> None:
    arms = {arm: column("right", 1.0, 0.0) for arm in ["base", "steered", *others]}
    assert summary_of(tmp_path, task(RIGHT), arms)["absent_controls"] == absent


def test_two_judges_agree_over_all_arms(tmp_path: Path) -> None:
    def judged(*pairs: tuple[float, float | None]) -> list[dict[str, Any]]:
        return [{"right": a, "judged": {"first": a, "second": b}} for a, b in pairs]

    arms = {
        "base": judged((1.0, 0.9), (0.0, 0.2)),
        "steered": judged((1.0, 0.4), (1.0, None)),
    }
    found = summary_of(tmp_path, task(RIGHT, question="Is it?"), arms)
    # Yes and yes, no and no, yes and no: 2/3 agree, 4/9 would by chance, (2/3 - 4/9) / (5/9) = 0.4.
    told = found["agreement"].pop("first vs second")
    assert told == pytest.approx({"items": 3, "agreement": 2 / 3, "kappa": 0.4})
    assert found["agreement"] == {}


def test_answers_that_differ_are_shown_first(tmp_path: Path) -> None:
    base = [{"right": 1.0, "answer": f"b{n}"} for n in range(8)]
    steered = [dict(one) for one in base]
    steered[3]["answer"], steered[6]["answer"] = "s3", "s6"
    found = summary_of(tmp_path, task(RIGHT), {"base": base, "steered": steered})
    asked = [example["question"] for example in found["examples"]]
    assert asked == ["ask 3", "ask 6", "ask 0", "ask 1", "ask 2"]
    assert found["examples"][0] == {"question": "ask 3", "base": "b3", "steered": "s3"}


def test_each_fold_has_its_plan_and_how_it_was_chosen(tmp_path: Path) -> None:
    toy = task(RIGHT)
    rows = Rows(tmp_path / "out", IDENTITY)
    rows.append([{"id": n, "base": {"right": 1.0}, "steered": {"right": 0.0}} for n in (0, 1)])
    hows = [
        {"items": 4, "pairs": 3, "layer": n, "strength": 0.5, "grid": [{"right": float("inf")}]}
        for n in (1, 2)
    ]
    parts = [
        part(toy, ["base", "steered"], plan, {"caa": how})
        for plan, how in zip((PLAN, OTHER), hows, strict=True)
    ]
    found = summarise(rows, toy, parts, IDENTITY, 0.0)
    assert found["plan"] == [PLAN.hash, OTHER.hash]
    expected = {"items": [4, 4], "pairs": [3, 3], "layer": [1, 2], "strength": [0.5, 0.5]}
    assert found["tuning"] == expected
    assert list(found["chosen"]) == ["caa, fold 0", "caa, fold 1"]
    assert found["chosen"]["caa, fold 1"]["grid"] == [{"right": None}]


def test_the_model_alone(tmp_path: Path) -> None:
    found = summary_of(tmp_path, task(RIGHT), {"base": column("right", 1.0, 1.0)})
    assert not {"steered", "delta", "others", "absent_controls"} & set(found)
    assert found["plan"] is None
    assert found["tuning"] == {"items": 0, "pairs": None, "layer": None, "strength": None}


def test_a_gain_is_that_of_items_with_a_value_under_both_arms(tmp_path: Path) -> None:
    # Equal wherever both have a value; two zeros are missing in one arm.
    arms = {
        "base": column("score", 1.0, 0.0, 1.0, 0.0, 0.0),
        "steered": column("score", 1.0, None, 1.0, None, 0.0),
    }
    found = summary_of(tmp_path, task(SCORE), arms)
    assert [found[arm]["score"]["value"] for arm in ("base", "steered")] == [0.4, 0.666667]
    assert [found[arm]["score"]["items"] for arm in ("base", "steered")] == [5, 3]
    assert found["delta"]["score"]["value"] == 0.0
