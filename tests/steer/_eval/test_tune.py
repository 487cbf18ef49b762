from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quiz
from steer._eval import Question, Tuning, _tune, pairs_of, question_of
from steer._eval._setting import Setting
from steer._eval._tune import halves, tuned_plan, tuned_plans
from steer.attribution import Pair, caa
from steer.hooks import DataError, Model, Plan

QUESTIONS = [question_of(row, n) for n, row in enumerate(quiz.rows())]
TEMPLATE = "Q: {question} A:"
TRIED = Tuning(layers=(0, 1), strengths=(0.1, 0.4, 0.8), sources=100)


@pytest.fixture
def setting(model: Model) -> Setting:
    return Setting(model, TEMPLATE, seed=3)


@pytest.mark.parametrize(("count", "tuning"), [(4, 2), (7, 3), (12, 6)])
def test_halves_are_disjoint_and_in_order(count: int, tuning: int) -> None:
    mine, reported = halves(QUESTIONS[:count], seed=0)
    assert len(mine) == tuning
    assert sorted([q.id for q in mine + reported]) == list(range(count))
    for half in (mine, reported):
        assert [q.id for q in half] == sorted(q.id for q in half)


def test_halves_depend_on_nothing_but_the_seed() -> None:
    assert halves(QUESTIONS, 1) == halves(QUESTIONS, 1)
    assert len({tuple(q.id for q in halves(QUESTIONS, seed)[0]) for seed in range(5)}) > 1


def test_three_questions_are_too_few() -> None:
    with pytest.raises(DataError, match="tuning needs at least 4 questions, got 3; raise the lim"):
        halves(QUESTIONS[:3], 0)


@pytest.mark.parametrize("change", [{"layers": ()}, {"strengths": ()}, {"sources": 0}])
def test_there_must_be_something_to_try(change: dict[str, Any]) -> None:
    with pytest.raises(
        DataError, match=r"^Tuning: needs layers, strengths and sources, got Tuning"
    ):
        Tuning(**change)


def test_an_unknown_metric() -> None:
    with pytest.raises(DataError, match=r"^Tuning: unknown metric 'mc3'; expected mc1 or mc2"):
        Tuning(metric="mc3")


def test_layers_that_are_not_named_lie_in_the_middle(model: Model) -> None:
    assert Tuning(layers=(3,)).layers_in(model) == (3,)
    middle = Tuning().layers_in(model)
    assert middle
    assert set(middle) <= {1, 2}


class Watched:
    """What `tuned_plan` extracted from and judged with; measurements come from a table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, table: list[tuple[float, float]]) -> None:
        self.sources: list[Question] = []
        self.judges: list[list[int]] = []
        self.table = table
        monkeypatch.setattr(_tune, "pairs_of", self.pairs_of)
        monkeypatch.setattr(_tune, "measure", self.measure)

    def pairs_of(self, questions: list[Question], template: str, seed: int) -> list[Pair]:
        self.sources = questions
        return pairs_of(questions, template, seed)

    def measure(self, _: Setting, questions: list[Question]) -> list[dict[str, float]]:
        mc1, mc2 = self.table[len(self.judges)]
        self.judges.append([q.id for q in questions])
        # The means of these are mc1 and mc2, whatever the number of questions.
        spread = np.linspace(-0.1, 0.1, len(questions))
        return [{"mc1": mc1 + s, "mc2": mc2 - s} for s in spread]


# By layer, then by strength: MC1 is best at (0, 0.4), MC2 at (1, 0.1).
TABLE = [(0.2, 0.3), (0.6, 0.4), (0.1, 0.5), (0.3, 0.7), (0.5, 0.6), (0.4, 0.2)]


@pytest.mark.parametrize(("metric", "layer", "strength"), [("mc1", 0, 0.4), ("mc2", 1, 0.1)])
def test_the_best_layer_and_strength_are_chosen(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, metric: str, layer: int, strength: float
) -> None:
    watched = Watched(monkeypatch, TABLE)
    tried = Tuning(layers=(0, 1), strengths=(0.1, 0.4, 0.8), sources=100, metric=metric)
    plan, about = tuned_plan("caa", setting, QUESTIONS, tried)
    assert (about["layer"], about["strength"]) == (layer, strength)
    found = [(row["layer"], row["strength"], row["mc1"], row["mc2"]) for row in about["grid"]]
    places = [(n, s) for n in (0, 1) for s in (0.1, 0.4, 0.8)]
    for row, place, values in zip(found, places, TABLE, strict=True):
        assert row == pytest.approx((*place, *values))
    pairs = pairs_of(watched.sources, TEMPLATE, 3)
    assert (about["pairs"], about["items"]) == (len(pairs), 6)
    assert plan.hash == caa(setting.model, pairs, layer, strength=strength).hash


@pytest.mark.parametrize(("sources", "count"), [(1, 1), (4, 4), (6, 6), (100, 6)])
def test_questions_that_give_pairs_never_judge(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, sources: int, count: int
) -> None:
    watched = Watched(monkeypatch, TABLE)
    tried = Tuning(layers=(0, 1), strengths=(0.1, 0.4, 0.8), sources=sources)
    _, about = tuned_plan("caa", setting, QUESTIONS, tried)
    gave = [q.id for q in watched.sources]
    assert len(gave) == count
    assert len(watched.judges) == 6
    for judges in watched.judges:
        assert sorted(gave + judges) == list(range(12))
    assert about["items"] == 12 - count


def test_the_grid_is_measured_under_the_plan(setting: Setting) -> None:
    """At strength 0 nothing changes, at others the layer's own vector does."""
    tried = Tuning(layers=(0, 1), strengths=(0.0, 0.8), sources=100)
    _, about = tuned_plan("caa", setting, QUESTIONS, tried)
    still_0, moved_0, still_1, moved_1 = (row["mc2"] for row in about["grid"])
    assert still_0 == still_1
    assert len({still_0, moved_0, moved_1}) == 3


def test_options_reach_their_method_only(setting: Setting) -> None:
    options = {"caa": {"read": "mean"}, "repe": {"keep_norm": False}}
    tried = Tuning(layers=(1,), strengths=(0.1,), options=options)
    caa_plan, _ = tuned_plan("caa", setting, QUESTIONS, tried)
    repe_plan, _ = tuned_plan("repe", setting, QUESTIONS, tried)
    assert (caa_plan.meta["read"], repe_plan.meta["read"]) == ("mean", "last")
    (caa_item,), (repe_item,) = caa_plan, repe_plan
    assert (caa_item.edit.keep_norm, repe_item.edit.keep_norm) == (True, False)


def test_tuned_plans_are_kept_in_the_folder(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, chosen = tuned_plans(["caa", "repe"], setting, QUESTIONS, TRIED, tmp_path)
    expected = {f"{name}.{end}" for name in ("caa", "repe") for end in ("json", "safetensors")}
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert Plan.load(tmp_path / "repe.safetensors").hash == plans["repe"].hash

    def never(*_: object) -> None:
        raise AssertionError("tuned a second time")

    monkeypatch.setattr(_tune, "tuned_plan", never)
    again, about = tuned_plans(["caa", "repe"], setting, QUESTIONS, TRIED, tmp_path)
    assert {n: p.hash for n, p in again.items()} == {n: p.hash for n, p in plans.items()}
    assert about == chosen


def test_without_a_folder_nothing_is_written(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plans, _ = tuned_plans(["caa"], setting, QUESTIONS, TRIED, None)
    assert list(plans) == ["caa"]
    assert list(tmp_path.iterdir()) == []
