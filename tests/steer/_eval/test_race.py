"""Races between plans whose results stand in a table, so that no model runs."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp
from statsmodels.stats.multitest import multipletests

import tiny
from steer._eval._grid import Grid, Point
from steer._eval._race import Raced, race
from steer._eval._share import Share
from steer._tasks import Metric, Result, Setting, Task
from steer.hooks import Plan, add, resid_post

HIGHER = Metric("got", "points", "higher", proportion=False)
LOWER = replace(HIGHER, better="lower")
RIGHT = Metric("got", "right or wrong", "higher")

Value = Callable[[int, int], float | None]
"""What an item is worth under a plan; -1 is no plan."""


@dataclass(frozen=True)
class Thing:
    """An item without content."""

    id: int

    @property
    def shown(self) -> Mapping[str, Any]:
        return {}


class Table:
    """A task that looks results up, and writes down which plan was measured on which items."""

    def __init__(self, value: Value, metric: Metric = HIGHER, dies_at: int = -1) -> None:
        self.value, self.metric, self.dies_at = value, metric, dies_at
        self.asked: list[tuple[int, list[int]]] = []

    def measure(
        self, _: Setting, items: Sequence[Thing], arms: Mapping[str, Plan | None]
    ) -> dict[str, list[Result]]:
        (plan,) = arms.values()
        number = -1 if plan is None else next(iter(plan)).site.layer
        assert number is not None
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        self.asked.append((number, [item.id for item in items]))
        results = [{"got": self.value(number, item.id), "said": "x"} for item in items]
        return {"tried": results}

    def race(
        self, plans: int, items: int, rungs: int, log: Path | None = None, seed: int = 0
    ) -> Raced:
        task = Task(
            name="table",
            about="",
            source="",
            licence="",
            metrics=(self.metric,),
            item=lambda _, n: Thing(n),
            measure=self.measure,
        )
        setting = Setting(tiny.model(), "qa", None, seed)
        made = {point(n): add(resid_post(n), tiny.vector()) for n in range(plans)}
        some = [Thing(n) for n in range(items)]
        return race(Grid(task, setting, log, Share()), made, some, self.metric, rungs)


def point(n: int) -> Point:
    return Point("caa", n, 1.0)


def noisy(seed: int = 0, scale: float = 0.2) -> Value:
    """Plan n is worth n / 10 on average, and the model alone nothing."""
    noise = np.random.default_rng(seed).normal(0, scale, (40, 100))
    return lambda n, item: float(max(n, 0) / 10 + noise[n, item])


def test_the_better_half_goes_on_and_the_last_see_everything() -> None:
    table = Table(lambda n, _: [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5, 0.0][n])
    found = table.race(10, 16, 3)
    # A quarter for all ten, a quarter more for the best five, the other half for four at the least.
    assert [row["items"] for row in found.points] == [4, 16, 4, 16, 4, 16, 4, 16, 8, 4]
    assert [row["layer"] for row in found.finished] == [1, 3, 5, 7]
    assert [n for n, _ in table.asked] == [-1, *range(10), -1, 1, 3, 5, 7, 8, -1, 1, 3, 5, 7]
    assert [len(items) for _, items in table.asked] == [4] * 11 + [4] * 6 + [8] * 5
    whole = [item for n, items in table.asked if n == 7 for item in items]
    assert sorted(whole) == list(range(16))
    assert whole == [item for n, items in table.asked if n == -1 for item in items]


def test_a_plan_is_judged_by_all_that_it_was_measured_on() -> None:
    order = list(range(16))
    random.Random(3).shuffle(order)
    early = set(order[:4])  # where plan 0 is best, and the second four bring it down to the last
    table = Table(lambda n, item: 1.0 if n else (1.2 if item in early else 0.0))
    assert [row["items"] for row in table.race(9, 16, 3).points] == [8, *[16] * 4, *[4] * 4]


def test_less_may_be_better() -> None:
    found = Table(lambda n, _: float(n), LOWER).race(10, 8, 2)
    assert [row["layer"] for row in found.finished] == [0, 1, 2, 3, 4]
    assert found.points[9]["gain"] == 10.0  # over -1, of the model alone


def test_of_equals_the_first_goes_on() -> None:
    found = Table(lambda _n, _item: 0.5).race(10, 8, 2)
    assert [row["layer"] for row in found.finished] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("plans", [1, 3, 4])
def test_four_plans_are_never_dropped(plans: int) -> None:
    found = Table(noisy()).race(plans, 16, 4)
    assert len(found.finished) == plans


def test_one_rung_is_the_whole_grid() -> None:
    value = noisy()
    found = Table(value).race(7, 9, 1)
    assert found.finished == found.points
    for n, row in enumerate(found.points):
        assert row["items"] == 9
        assert row["got"] == pytest.approx(sum(value(n, k) or 0 for k in range(9)) / 9)
    assert found.base["got"] == pytest.approx(sum(value(-1, k) or 0 for k in range(9)) / 9)


@pytest.mark.parametrize(("items", "rungs"), [(1, 3), (2, 5), (3, 50), (5, 4), (16, 1000)])
def test_more_rungs_than_items(items: int, rungs: int) -> None:
    table = Table(noisy())
    found = table.race(9, items, rungs)
    assert found.finished
    best = found.finished[-1]["layer"]
    seen = [item for n, some in table.asked if n == best for item in some]
    assert sorted(seen) == list(range(items))
    assert all(some for _, some in table.asked)


def test_gains_are_paired_with_the_model_alone_on_the_same_items() -> None:
    value = noisy(1)
    table = Table(value)
    found = table.race(10, 16, 3)
    for n, row in enumerate(found.points):
        seen = [item for plan, some in table.asked if plan == n for item in some]
        gains = [(value(n, item) or 0) - (value(-1, item) or 0) for item in seen]
        assert row["got"] == pytest.approx(np.mean([value(n, item) or 0 for item in seen]))
        assert row["gain"] == pytest.approx(np.mean(gains))
        assert row["low"] <= row["gain"] <= row["high"]


def test_p_values_of_shares_are_exact_and_corrected_for_all_plans() -> None:
    rng = np.random.default_rng(2)
    right = rng.random((11, 40)) < np.linspace(0.2, 0.9, 11)[:, None]
    table = Table(lambda n, item: float(right[n + 1, item]), RIGHT)
    found = table.race(10, 40, 2)
    expected = []
    for n, row in enumerate(found.points):
        seen = [item for plan, some in table.asked if plan == n for item in some]
        mine, theirs = right[n + 1, seen], right[0, seen]
        won, lost = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
        expected.append(binomtest(won, won + lost).pvalue if won + lost else 1.0)
        assert row["p"] == pytest.approx(expected[-1])
    adjusted = multipletests(expected, method="holm")[1]
    assert [row["p_holm"] for row in found.points] == pytest.approx(list(adjusted))
    assert min(adjusted) < 0.05 < max(adjusted)


def test_a_mean_can_be_significant_among_many_plans() -> None:
    # 2,000 resamples would leave each p at 0.001 or more, which 40 plans make 0.04 or more; here
    # each item gains about 1, with a spread of 0.5.
    noise = np.random.default_rng(3).normal(0, 0.5, (41, 50))
    value: Value = lambda n, item: float((n >= 0) + noise[n + 1, item])  # noqa: E731
    found = Table(value).race(40, 50, 1)
    for n, row in enumerate(found.points):
        gains = 1 + noise[n + 1] - noise[0]
        assert row["p"] == pytest.approx(ttest_1samp(gains, 0).pvalue)
        assert row["p_holm"] < 1e-6


def test_a_perplexity_is_told_as_one() -> None:
    metric = replace(LOWER, exponential=True)
    found = Table(lambda n, _: 0.5 * (n + 2), metric).race(3, 4, 1)
    assert found.base["got"] == pytest.approx(exp(0.5))
    assert [row["got"] for row in found.points] == pytest.approx([exp(1.0), exp(1.5), exp(2.0)])
    assert found.points[0]["gain"] == pytest.approx(exp(1.0) - exp(0.5))


def test_a_plan_without_a_value_yet_is_dropped_first() -> None:
    found = Table(lambda n, _: None if n < 5 else -1.0).race(10, 8, 2)
    assert [row["layer"] for row in found.finished] == [5, 6, 7, 8, 9]
    first = found.points[0]
    assert "got" not in first
    assert all(isnan(first[name]) for name in ("gain", "low", "high", "p", "p_holm"))


def test_the_seed_shuffles_the_items() -> None:
    def first(seed: int) -> list[int]:
        table = Table(noisy())
        table.race(5, 16, 3, seed=seed)
        return table.asked[0][1]

    assert first(0) == first(0)
    assert len({tuple(first(seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize("dies_at", [0, 5, 12, 20])
def test_a_race_that_was_killed_goes_on_to_the_same_end(tmp_path: Path, dies_at: int) -> None:
    whole = Table(noisy())
    expected = whole.race(10, 16, 3)
    log = tmp_path / "sweep.grid.jsonl"
    killed = Table(noisy(), dies_at=dies_at)
    with pytest.raises(KeyboardInterrupt):
        killed.race(10, 16, 3, log)
    with log.open("a") as file:
        file.write('{"method": "caa", "lay')  # what a kill leaves of a row
    again = Table(noisy())
    assert again.race(10, 16, 3, log) == expected
    assert killed.asked + again.asked == whole.asked
    finished = Table(noisy())
    assert finished.race(10, 16, 3, log) == expected
    assert finished.asked == []


def test_the_log_holds_numbers_only(tmp_path: Path) -> None:
    log = tmp_path / "sweep.grid.jsonl"
    Table(lambda n, item: nan if item else float(n)).race(1, 2, 1, log)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(row["layer"], row["rung"]) for row in rows] == [(-1, 0), (0, 0)]
    assert all(list(result) == ["got"] for row in rows for result in row["results"])
