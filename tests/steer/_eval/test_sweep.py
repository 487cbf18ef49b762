"""Sweeps of two methods over a tiny model, end to end."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tiny
from steer._eval import Evaluation, _grid, evaluate, sweep
from steer._eval._report import html, markdown
from steer._eval._table import sweep_table
from steer._tasks import TASKS
from steer.hooks import DataError, Plan, TaskError
from swept import plain, run

PAIR = {"prompt": "Is the sky blue ?", "chosen": "yes it is", "rejected": "no it is not"}
SCHEMA = Path(__file__).parents[3] / "docs" / "summary.schema.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    return run(folder, out=folder / "out")


def tuning_items(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The numbers of the items that are measured in the search, as they come."""
    seen: set[int] = set()
    real = _grid.Grid.results

    def results(self: Any, plans: Any, items: Any, rung: int = 0) -> Any:
        if self.task.name == "truthfulqa":
            seen.update(item.id for item in items)
        return real(self, plans, items, rung)

    monkeypatch.setattr(_grid.Grid, "results", results)
    return seen


def test_the_reported_items_took_no_part_in_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[int] = []
    task = TASKS["truthfulqa"]
    pairs = task.pairs
    assert pairs is not None

    def pairs_of(items: Any, prompt: str, seed: int) -> Any:
        sources.extend(item.id for item in items)
        return pairs(items, prompt, seed)

    monkeypatch.setitem(TASKS, "truthfulqa", replace(task, pairs=pairs_of))
    judges = tuning_items(monkeypatch)
    found = run(tmp_path)
    reported = {row["id"] for row in found.rows}
    assert [len(some) for some in (sources, judges, reported)] == [2, 4, 6]
    assert reported | judges | set(sources) == set(range(12))


def test_the_best_of_those_that_saw_everything_is_confirmed(
    found: Evaluation, folder: Path
) -> None:
    summary = plain(found)
    swept = summary["sweep"]
    tried = [(p["method"], p["layer"], p["strength"]) for p in swept["points"]]
    places = [(n, s) for n in (1, 2) for s in (0.2, 0.5, 0.8)]
    assert tried == [(name, *place) for name in ("caa", "grains") for place in places]
    finished = [p for p in swept["points"] if p["items"] == 4]
    best = max(finished, key=lambda p: float(p["mc2"]))
    assert swept["best"] == {k: best[k] for k in ("method", "layer", "strength")}
    assert len(finished) < len(tried)
    plan = found.plans["steered"]
    (item,) = plan
    assert (item.site.layer, item.strength) == (best["layer"], best["strength"])
    assert plan.hash == summary["plan"] == summary["chosen"][best["method"]]["plan"]
    assert Plan.load(folder / "out" / f"{best['method']}.safetensors").hash == plan.hash
    assert {k: summary["tuning"][k] for k in ("layer", "strength", "items")} == {
        "layer": best["layer"],
        "strength": best["strength"],
        "items": 4,
    }


def test_the_plan_measured_alone_is_the_same(found: Evaluation, folder: Path) -> None:
    alone = evaluate(tiny.model(), "truthfulqa", found.plans["steered"], data=folder / "quiz.jsonl")
    by_id = {row["id"]: row for row in alone.rows}
    for row in found.rows:
        for arm in ("base", "steered", "flipped"):
            expected = by_id[row["id"]][arm]["mc2"]
            assert row[arm]["mc2"] == pytest.approx(expected, abs=1e-5)


def test_the_controls_stand_beside_it(found: Evaluation, folder: Path) -> None:
    assert list(found.plans) == ["steered", "flipped", "shuffled", "random 0"]
    assert found.summary["absent_controls"] == []
    (item,), (other,) = found.plans["steered"], found.plans["shuffled"]
    assert (item.site, item.strength) == (other.site, other.strength)
    assert found.plans["shuffled"].hash != found.plans["steered"].hash
    without = run(folder, ["caa"], controls=False)
    assert len(without.summary["absent_controls"]) == 3


def test_side_effects_are_those_of_a_direct_evaluation(found: Evaluation, folder: Path) -> None:
    direct = evaluate(
        tiny.model(), "kl", found.plans["steered"], data=folder / "texts.jsonl", controls=False
    )
    swept = found.summary["sweep"]
    (mine,) = [p for p in swept["points"] if swept["best"].items() <= p.items()]
    expected = direct.summary["steered"]["kl"]["value"]
    assert expected > 0
    assert mine["side: kl"] == pytest.approx(expected, rel=1e-4)
    for method in ("caa", "grains"):  # more strength does more harm
        some = [p for p in swept["points"] if (p["method"], p["layer"]) == (method, 1)]
        harm = [p["side: kl"] for p in some]
        assert harm == sorted(harm)


def test_plans_above_the_side_limit_are_not_raced(found: Evaluation, folder: Path) -> None:
    harms = sorted(p["side: kl"] for p in found.summary["sweep"]["points"])
    limit = (harms[2] + harms[3]) / 2
    limited = run(folder, side_limit=limit)
    swept = plain(limited)["sweep"]
    assert sorted(p["side: kl"] for p in swept["points"]) == pytest.approx(harms)
    raced = [p for p in swept["points"] if "items" in p]
    assert len(raced) == 3
    assert all(p["side: kl"] <= limit for p in raced)
    assert [p for p in swept["points"] if "mc2" in p] == raced
    assert html([limited.summary]).count("<svg") == 4
    with pytest.raises(DataError, match=r"no plan is within the side limit 0; the best kl is 0\.0"):
        run(folder, side_limit=0.0)


def test_a_side_effect_of_which_more_is_better(folder: Path) -> None:
    # All plans lie on one side of such limits, whatever their scores are.
    side = f"truthfulqa={folder / 'quiz.jsonl'}:3"
    assert all("items" in p for p in points(run(folder, ["caa"], side=side, side_limit=-1.0)))
    with pytest.raises(DataError, match=r"no plan is within the side limit 2; the best mc2 is 0\."):
        run(folder, ["caa"], side=side, side_limit=2.0)


def points(found: Evaluation) -> list[dict[str, Any]]:
    some: list[dict[str, Any]] = found.summary["sweep"]["points"]
    return some


def test_without_a_side_effect(folder: Path) -> None:
    summary = plain(run(folder, ["caa"], side=None))
    assert (summary["sweep"]["side"], summary["sweep"]["side_metric"]) == (None, None)
    assert not any("side" in key for p in summary["sweep"]["points"] for key in p)
    assert html([summary]).count("<svg") == 2
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))


def test_given_pairs_leave_the_whole_half_to_judge(folder: Path) -> None:
    found = run(folder, ["caa"], pairs=[PAIR, PAIR | {"prompt": "Is it ?"}], rungs=1)
    assert (found.summary["tuning"]["items"], found.summary["tuning"]["pairs"]) == (6, 2)
    assert {p["items"] for p in points(found)} == {6}


def test_the_summary_keeps_to_the_schema(found: Evaluation, folder: Path) -> None:
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary | {"seconds": 0} == plain(found)
    jsonschema.validate(summary, json.loads(SCHEMA.read_text()))


def test_the_report_has_the_maps_and_the_trade_off(found: Evaluation, folder: Path) -> None:
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<svg") == 4  # arms, effect, side effect, one against the other
    for about in ("mc2 on the tuning part", "side: kl of every plan", "mc2 against side: kl"):
        assert f"<h2>{about}" in page
    table = sweep_table(found.summary)
    assert table is not None
    assert f"### {table.title}" in markdown([found.summary])
    best = found.summary["sweep"]["best"]
    assert table.lines[0][:4] == [best["method"], str(best["layer"]), f"{best['strength']:g}", "4"]
    assert table.title == "The best of 12 plans on the tuning part"


def test_one_seed_gives_one_sweep(found: Evaluation, folder: Path, tmp_path: Path) -> None:
    again = run(folder)  # in the same folder's data, without an out
    assert plain(again) == plain(found)
    other = run(tmp_path, seed=1)
    assert [row["id"] for row in other.rows] != [row["id"] for row in found.rows]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rungs": 0}, DataError, r"sweep: needs methods and at least one rung, got .*, 0"),
        ({"methods": ["cca"]}, TaskError, "unknown method 'cca'"),
        ({"side": None, "side_limit": 1.0}, DataError, "the side limit 1.0 needs a side effect"),
        ({"side": "nothing"}, TaskError, "unknown task 'nothing'"),
        ({"side": "kl=none.txt"}, DataError, re.escape("none.txt")),
        ({"limit": 3}, DataError, "tuning needs at least 4 items for 2 parts, got 3"),
    ],
)
def test_what_cannot_be_swept(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_there_must_be_a_method(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sweep: needs methods"):
        sweep(tiny.model(), "misconceptions", [])
