import math
from collections.abc import Iterator
from typing import Any

import pytest

from steer._eval._columns import columns_of
from steer._tasks import Metric

SCORE = Metric("score", "a number", "higher", proportion=False)
LOSS = Metric("loss", "weighed by tokens", "lower", False, value="nll", weight="tokens")
GONE = Metric("gone", "no item has it")


def rows() -> list[dict[str, Any]]:
    base = [{"score": 1.0, "nll": 2.0, "tokens": 3}, {"score": 0.0, "nll": 4.0, "tokens": 1}]
    other = [{"score": 0.5, "nll": 1.0, "tokens": 3}, {"score": None, "nll": 5.0, "tokens": 1}]
    return [{"id": n, "base": base[n], "steered": other[n]} for n in range(2)]


def test_values_are_weighed() -> None:
    found = columns_of(rows(), ["base", "steered"], [SCORE, LOSS])
    assert found["base", "score"].value() == 0.5
    assert found["base", "loss"].value() == (3 * 2.0 + 4.0) / 4
    assert found["steered", "loss"].value() == (3 * 1.0 + 5.0) / 4
    assert found["steered", "loss"].weights.tolist() == [3.0, 1.0]


def test_items_without_a_value_take_no_part() -> None:
    column = columns_of(rows(), ["steered"], [SCORE])["steered", "score"]
    assert column.takes_part.tolist() == [True, False]
    assert column.value() == 0.5


def test_a_metric_that_no_item_has_is_left_out() -> None:
    found = columns_of(rows(), ["base", "steered"], [GONE, SCORE])
    assert list(found) == [("base", "score"), ("steered", "score")]


def test_a_metric_that_one_arm_has_is_kept_for_all() -> None:
    some = rows()
    some[1]["steered"]["gone"] = 1.0
    found = columns_of(some, ["base", "steered"], [GONE])
    assert found["steered", "gone"].value() == 1.0
    assert math.isnan(found["base", "gone"].value())


def test_random_is_the_mean_of_the_random_arms_item_by_item() -> None:
    some = [
        {"random 0": {"score": 1.0}, "random 1": {"score": 0.0}, "base": {"score": 1.0}},
        {"random 0": {"score": 0.5}, "random 1": {"score": 0.1}, "base": {"score": 0.0}},
    ]
    found = columns_of(some, ["base", "random 0", "random 1"], [SCORE])
    assert found["random", "score"].values.tolist() == pytest.approx([0.5, 0.3])
    assert found["random", "score"].value() == pytest.approx(0.4)
    assert ("random", "score") not in columns_of(some, ["base"], [SCORE])


def test_rows_are_read_once_and_none_is_kept() -> None:
    alive = 0

    class Counted(dict[str, Any]):
        def __init__(self, *given: Any) -> None:
            nonlocal alive
            super().__init__(*given)
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def read() -> Iterator[Counted]:
        for n in range(50):
            yield Counted({"base": {"score": float(n)}})
            assert alive <= 1

    assert columns_of(read(), ["base"], [SCORE])["base", "score"].value() == 24.5
