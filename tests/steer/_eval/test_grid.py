import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
import two
from steer._eval._grid import Grid, Point, best_of
from steer._eval._items import Items, data_of
from steer._eval._share import Share
from steer._tasks import TASKS, Metric, Result, Setting, Task
from steer.hooks import DataError, Plan, RunError, add, resid_post

UP, DOWN = Metric("up", "", "higher", False), Metric("down", "", "lower", False)
POINTS = [Point("caa", layer, strength) for layer in (1, 2) for strength in (0.25, 0.5)]
PLANS = {p: add(resid_post(p.layer), tiny.vector(0), strength=p.strength) for p in POINTS}


class Measured(list[tuple[int, float, list[int]]]):
    """What a task measured: layer, strength and the numbers of the items."""

    fails_at = -1

    def measure(
        self, setting: Setting, items: Sequence[Any], arms: dict[str, Plan]
    ) -> dict[str, list[Result]]:
        if len(self) == self.fails_at:
            raise KeyboardInterrupt
        (item,) = arms["tried"]
        self.append((item.site.layer, float(item.strength), [i.id for i in items]))
        return {"tried": [{"up": item.site.layer + i.id, "more": "text"} for i in items]}

    @property
    def task(self) -> Task:
        return replace(TASKS["truthfulqa"], measure=self.measure, metrics=(UP, DOWN), chunk=4)


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return data_of(TASKS["truthfulqa"], quiz.write(tmp_path)).items[:6]


def grid(measured: Measured, log: Path | None, share: Share | None = None) -> Grid:
    return Grid(measured.task, Setting(tiny.model(), "qa"), log, share or Share())


def test_every_point_with_its_means_in_order(items: Items) -> None:
    measured = Measured()
    found = grid(measured, None).means(PLANS, items)
    # The mean of 0 to 5 is 2.5; `down` has no values.
    assert found == [p._asdict() | {"up": p.layer + 2.5} for p in POINTS]
    chunks = [[0, 1, 2, 3], [4, 5]]
    assert measured == [(p.layer, p.strength, some) for p in POINTS for some in chunks]


def test_a_grid_that_was_interrupted_goes_on(items: Items, tmp_path: Path) -> None:
    log, first, second = tmp_path / "caa.grid.jsonl", Measured(), Measured()
    first.fails_at = 5  # in the midst of the third point
    with pytest.raises(KeyboardInterrupt):
        grid(first, log).means(PLANS, items)
    kept = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(row["layer"], row["strength"]) for row in kept] == [(1, 0.25), (1, 0.5)]
    assert kept[0]["results"] == [{"up": 1 + n, "down": None} for n in range(6)]
    again = grid(second, log).means(PLANS, items)
    assert again == grid(Measured(), None).means(PLANS, items)
    assert [(layer, strength) for layer, strength, _ in second[::2]] == [(2, 0.25), (2, 0.5)]


def test_a_rung_of_its_own_is_measured_anew(items: Items, tmp_path: Path) -> None:
    log, measured = tmp_path / "sweep.grid.jsonl", Measured()
    made = grid(measured, log)
    made.results(PLANS, items[:2], rung=0)
    assert made.results(PLANS, items[2:4], rung=1)[POINTS[0]][0]["up"] == 3
    assert made.results(PLANS, items[:2], rung=0)[POINTS[0]][0]["up"] == 1
    assert len(measured) == 2 * len(POINTS)


def test_a_point_that_was_cut_off_is_measured_again(items: Items, tmp_path: Path) -> None:
    log = tmp_path / "caa.grid.jsonl"
    whole = grid(Measured(), log).means(PLANS, items)
    before = log.read_bytes()
    log.write_bytes(before[:-30])
    measured = Measured()
    assert grid(measured, log).means(PLANS, items) == whole
    assert log.read_bytes() == before
    assert len(measured) == 2


@pytest.mark.parametrize(
    "damaged", ["{}\n", '{"rung": 0, "method": "caa", "layer": "x", "strength": 1}\n']
)
def test_a_damaged_log(items: Items, tmp_path: Path, damaged: str) -> None:
    log = tmp_path / "caa.grid.jsonl"
    log.write_text(damaged)
    with pytest.raises(RunError, match=r"caa.grid.jsonl is damaged \(.+\); choose another --out$"):
        grid(Measured(), log).means(PLANS, items)


def test_two_processes_share_the_points(
    items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, measured = tmp_path / "caa.grid.jsonl", [Measured(), Measured()]
    found = two.both(
        monkeypatch, lambda share: grid(measured[share.rank], log, share).means(PLANS, items)
    )
    assert found == [grid(Measured(), None).means(PLANS, items)] * 2
    assert [len(some) for some in measured] == [4, 4]
    assert not {(a, b) for a, b, _ in measured[0]} & {(a, b) for a, b, _ in measured[1]}
    assert [path.name for path in tmp_path.glob("*.grid*")] == ["caa.grid.jsonl"]
    alone = Measured()
    assert grid(alone, log).means(PLANS, items) == found[0]
    assert alone == []


def test_one_process_goes_on_from_the_points_of_two(items: Items, tmp_path: Path) -> None:
    log, measured = tmp_path / "caa.grid.jsonl", Measured()
    whole = grid(Measured(), log).means(PLANS, items)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[0])
    (tmp_path / "caa.grid.1.jsonl").write_text(lines[1])
    assert grid(measured, log).means(PLANS, items) == whole
    assert [(layer, strength) for layer, strength, _ in measured[::2]] == [(2, 0.25), (2, 0.5)]
    assert [path.name for path in tmp_path.glob("*.grid*")] == ["caa.grid.jsonl"]
    assert sorted(log.read_text().splitlines(keepends=True)) == sorted(lines)


def test_two_processes_that_were_killed_lose_no_row(
    items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "caa.grid.jsonl"
    whole = grid(Measured(), log).means(PLANS, items)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[0])
    # The second died before it moved one of its rows, and after another: it stands in both.
    (tmp_path / "caa.grid.1.jsonl").write_text(lines[1] + lines[0])
    (tmp_path / "caa.grid.2.jsonl").write_text(lines[2])
    found = two.both(monkeypatch, lambda share: grid(Measured(), log, share).means(PLANS, items))
    assert found == [whole] * 2
    assert sorted(log.read_text().splitlines(keepends=True)) == sorted(lines)
    assert [path.name for path in tmp_path.glob("*.grid*")] == ["caa.grid.jsonl"]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        (UP, [0.1, 0.7, 0.4], 1),
        (DOWN, [0.3, 0.7, 0.2], 2),
        (UP, [0.2, 0.5, 0.5], 1),
        (DOWN, [0.5, 0.2, 0.2], 1),
        (UP, [-3.0, -1.0, -2.0], 1),
    ],
)
def test_the_best_is_the_first_of_equals(metric: Metric, values: list[float], best: int) -> None:
    points = [{"n": n, metric.name: value} for n, value in enumerate(values)]
    assert best_of(points, metric)["n"] == best


def test_nothing_is_best_without_the_metric() -> None:
    with pytest.raises(DataError, match=r"^tuning: no item has up under \{'n': 1\}; choose anoth"):
        best_of([{"n": 0, "up": 1.0}, {"n": 1}], UP)
