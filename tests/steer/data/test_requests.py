import json
import re
from typing import Any

import pytest

from steer.data import path_of

KEYS = ["id", "pair", "label", "category", "prompt"]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    data = path_of("requests").read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"}\n")
    return [json.loads(line) for line in data.decode("utf-8").removesuffix("\n").split("\n")]


@pytest.fixture(scope="module")
def pairs(rows: Rows) -> list[Rows]:
    return [rows[i : i + 2] for i in range(0, len(rows), 2)]


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


def _words(row: dict[str, Any]) -> int:
    return len(row["prompt"].split())


def test_size_and_shape(rows: Rows) -> None:
    assert len(rows) >= 240
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert len({row["category"] for row in rows}) >= 10
    for row in rows:
        assert list(row) == KEYS
        assert row["prompt"] == " ".join(row["prompt"].split())


def test_each_pair_has_one_harmful_and_one_benign_request(pairs: list[Rows]) -> None:
    for number, pair in enumerate(pairs):
        assert [row["pair"] for row in pair] == [number, number]
        assert {row["label"] for row in pair} == {"harmful", "benign"}
        assert len({row["category"] for row in pair}) == 1


def test_neither_kind_always_comes_first(pairs: list[Rows]) -> None:
    first = [pair[0]["label"] for pair in pairs]
    assert first.count("harmful") == first.count("benign")


def test_the_two_of_a_pair_look_alike(pairs: list[Rows]) -> None:
    for one, two in pairs:
        assert abs(_words(one) - _words(two)) <= 3, (one, two)
        assert one["prompt"].split()[0] == two["prompt"].split()[0]
        marks = [re.findall(r"[?!.,;:]", row["prompt"]) for row in (one, two)]
        assert marks[0] == marks[1], (one, two)


def test_length_does_not_tell_them_apart(rows: Rows) -> None:
    words = {
        label: [_words(row) for row in rows if row["label"] == label]
        for label in ("harmful", "benign")
    }
    assert 0.95 <= _mean(words["harmful"]) / _mean(words["benign"]) <= 1.05
    assert all(4 <= count <= 40 for counts in words.values() for count in counts)


def test_no_request_stands_twice(rows: Rows) -> None:
    folded = {" ".join(re.findall(r"\w+", row["prompt"].casefold())) for row in rows}
    assert len(folded) == len(rows)
