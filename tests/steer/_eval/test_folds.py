"""Cross-validation: every item is reported once, by plans that it had no part in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import quiz
import tiny
from steer._eval import Evaluation, Tuning, evaluate
from steer._tasks import TASKS, Item, Setting
from steer.attribution import Pair

TUNING = Tuning(layers=(1, 2), strengths=(0.2, 0.5), sources=2)


class Seen(NamedTuple):
    """The items that a plan was extracted from, those that judged, and those that are reported."""

    learned: list[set[int]]
    judged: list[set[int]]
    reported: list[set[int]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What the task `watched` sees, which is truthfulqa otherwise."""
    whole, noted = TASKS["truthfulqa"], Seen([], [], [])

    def measure(setting: Setting, items: Sequence[Any], arms: Any) -> Any:
        mine = {item.id for item in items}
        kind = noted.judged if "tried" in arms else noted.reported
        if mine not in kind[-1:]:
            kind.append(mine)
        return whole.measure(setting, items, arms)

    def pairs(items: Sequence[Item], prompt: str, seed: int) -> list[Pair]:
        noted.learned.append({item.id for item in items})
        assert whole.pairs is not None
        return whole.pairs(items, prompt, seed)

    task = replace(whole, name="watched", measure=measure, pairs=pairs)
    monkeypatch.setitem(TASKS, "watched", task)
    return noted


def run(tmp_path: Path, folds: int, **more: Any) -> Evaluation:
    data = quiz.write(tmp_path)
    options: dict[str, Any] = {"method": "caa", "tuning": TUNING, "folds": folds, "randoms": 1}
    return evaluate(tiny.model(), "watched", data=data, **options, **more)


def test_one_part_tunes_and_the_other_is_reported(tmp_path: Path, seen: Seen) -> None:
    found = run(tmp_path, 1)
    (learned,), (judged,), (reported,) = seen
    assert (len(learned), len(judged), len(reported)) == (2, 4, 6)
    assert learned | judged | reported == set(range(12))
    assert {row["id"] for row in found.rows} == reported
    assert found.summary["tuning"]["items"] == len(judged)
    assert not any("fold" in row for row in found.rows)


@pytest.mark.parametrize("folds", [2, 3])
def test_every_item_is_reported_once(tmp_path: Path, seen: Seen, folds: int) -> None:
    found = run(tmp_path, folds)
    assert [row["id"] for row in found.rows] == list(range(12))
    assert found.summary["items"] == 12
    for n, (learned, judged) in enumerate(zip(seen.learned, seen.judged, strict=True)):
        reported = {row["id"] for row in found.rows if row["fold"] == n}
        assert reported == seen.reported[n]
        assert len(reported) == 12 // folds
        # The three are disjoint, and nothing is left over.
        assert sorted([*learned, *judged, *reported]) == list(range(12))
    assert len(seen.learned) == folds


def test_each_fold_has_a_plan_of_its_own(tmp_path: Path, seen: Seen) -> None:
    found = run(tmp_path, 2, beside=["repe"], out=tmp_path / "out").summary
    names = ["caa, fold 0", "repe, fold 0", "caa, fold 1", "repe, fold 1"]
    assert list(found["chosen"]) == names
    hows = [found["chosen"][f"caa, fold {n}"] for n in (0, 1)]
    assert found["plan"] == [how["plan"] for how in hows]
    assert found["plan"][0] != found["plan"][1]
    for key in ("items", "pairs", "layer", "strength"):
        assert found["tuning"][key] == [how[key] for how in hows]
    assert (found["folds"], found["absent_controls"]) == (2, [])
    assert list(found["others"]) == ["repe", "flipped", "shuffled", "random"]


def test_the_whole_is_the_mean_over_all_folds(tmp_path: Path, seen: Seen) -> None:
    found = run(tmp_path, 3)
    for arm in ("base", "steered"):
        mean = sum(row[arm]["mc2"] for row in found.rows) / 12
        assert found.summary[arm]["mc2"]["value"] == pytest.approx(mean, abs=1e-6)
