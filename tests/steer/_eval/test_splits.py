import json
import random

import pytest

import quiz
from steer._eval._items import Items
from steer._eval._splits import splits
from steer._tasks import TASKS
from steer.hooks import DataError


def items(count: int) -> Items:
    """Every other row of a file."""
    return Items(
        TASKS["truthfulqa"], [json.dumps(quiz.rows(1)[0])] * 2 * count, range(0, 2 * count, 2)
    )


def numbers(count: int, folds: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    found = splits(items(count), folds, seed)
    return [(list(mine.numbers), list(theirs.numbers)) for mine, theirs in found]


@pytest.mark.parametrize(("count", "tuning"), [(4, 2), (7, 3), (12, 6), (101, 50)])
def test_one_fold_is_two_halves_the_first_for_tuning(count: int, tuning: int) -> None:
    order = list(range(count))
    random.Random(5).shuffle(order)
    expected = [sorted(2 * n for n in some) for some in (order[:tuning], order[tuning:])]
    assert [list(pair) for pair in numbers(count, 1, seed=5)] == [expected]


@pytest.mark.parametrize("folds", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [10, 11, 23])
def test_the_parts_of_a_fold_are_disjoint_whole_and_in_order(count: int, folds: int) -> None:
    found = numbers(count, folds)
    assert len(found) == folds
    for mine, theirs in found:
        assert sorted(mine + theirs) == list(range(0, 2 * count, 2))
        assert (mine, theirs) == (sorted(mine), sorted(theirs))


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("count", [10, 11, 23, 100])
def test_every_item_is_reported_once(count: int, folds: int) -> None:
    reported = [theirs for _, theirs in numbers(count, folds)]
    assert sorted(n for theirs in reported for n in theirs) == list(range(0, 2 * count, 2))
    sizes = [len(theirs) for theirs in reported]
    assert max(sizes) - min(sizes) <= 1


def test_two_folds_change_the_halves_over() -> None:
    (tuned, reported), (again, first) = numbers(7, 2)
    assert (tuned, reported) == (first, again)
    # The half that one fold reports is reported by the second of two.
    assert numbers(7, 1) == [(again, first)]


def test_the_seed_decides() -> None:
    assert numbers(20, 3, seed=1) == numbers(20, 3, seed=1)
    assert len({str(numbers(20, 1, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("count", "folds", "message"),
    [
        (4, 0, "^tuning: folds must be at least 1, got 0$"),
        (3, 1, "^tuning needs at least 4 items for 2 parts, got 3; raise the limit$"),
        (3, 2, "^tuning needs at least 4 items for 2 parts, got 3; raise the limit$"),
        (5, 3, "^tuning needs at least 6 items for 3 parts, got 5; raise the limit$"),
    ],
)
def test_too_few(count: int, folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        splits(items(count), folds, 0)
