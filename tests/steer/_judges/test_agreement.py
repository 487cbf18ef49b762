import pytest

from steer._judges import agreement
from steer.hooks import DataError


def test_kappa_by_hand() -> None:
    # Both yes 2, both no 1, a alone yes 1; p = 3/4, yes 3/4 and 1/2, e = 3/8 + 1/8 = 1/2.
    found = agreement({"a": [0.9, 0.5, 0.8, 0.1], "b": [1.0, 0.7, 0.49, 0.0]})
    assert found == {"a vs b": {"items": 4, "agreement": 0.75, "kappa": 0.5}}


def test_what_one_judge_could_not_say_does_not_count() -> None:
    found = agreement({"a": [1.0, None, 0.0, 1.0], "b": [1.0, 1.0, None, 0.0]})
    assert found["a vs b"]["items"] == 2
    assert found["a vs b"]["agreement"] == 0.5


def test_opposite_judges_have_kappa_minus_one() -> None:
    assert agreement({"a": [1.0, 0.0], "b": [0.0, 1.0]})["a vs b"]["kappa"] == -1


def test_what_is_undefined_is_none() -> None:
    same = agreement({"a": [1.0, 1.0], "b": [1.0, 0.6]})["a vs b"]
    assert same == {"items": 2, "agreement": 1.0, "kappa": None}
    none = agreement({"a": [None], "b": [1.0]})["a vs b"]
    assert none == {"items": 0, "agreement": None, "kappa": None}


def test_every_pair_is_there_once() -> None:
    found = agreement({"a": [1.0], "b": [1.0], "c": [0.0]})
    assert list(found) == ["a vs b", "a vs c", "b vs c"]
    assert agreement({"a": [1.0]}) == {}


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"^agreement: expected .* \{'a': 1, 'b': 2\}$"):
        agreement({"a": [1.0], "b": [1.0, 0.0]})
