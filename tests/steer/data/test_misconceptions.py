import json
import re
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from steer._tasks import question_of
from steer.data import path_of

KEYS = [
    "question",
    "category",
    "best_answer",
    "correct_answers",
    "incorrect_answers",
    "source",
]
STOP_WORDS = """
a an and are as at be by can did do does for from has have how if in is it its many most much of on
or so than that the their they this to was were what when where which who why will with would you
your
"""
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    data = path_of("misconceptions").read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"}\n")
    return data.decode("utf-8").removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def rows(lines: list[str]) -> Rows:
    return [json.loads(line) for line in lines]


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _content(text: str) -> set[str]:
    return set(_folded(text).split()) - set(STOP_WORDS.split())


def _mean_words(rows: Rows, column: str) -> float:
    counts = [len(answer.split()) for row in rows for answer in row[column]]
    return sum(counts) / len(counts)


def test_size_and_shape(rows: Rows) -> None:
    assert len(rows) >= 200
    categories = Counter(row["category"] for row in rows)
    assert len(categories) >= 20
    assert min(categories.values()) >= 2
    for row in rows:
        assert list(row) == KEYS
        assert isinstance(row["correct_answers"], list)
        assert isinstance(row["incorrect_answers"], list)
        assert 3 <= len(row["correct_answers"]) <= 4
        assert 3 <= len(row["incorrect_answers"]) <= 4
        assert row["source"].strip()


def test_the_file_is_written_in_one_way(lines: list[str], rows: Rows) -> None:
    assert lines == [json.dumps(row, ensure_ascii=False) for row in rows]


def test_every_row_is_a_question_of_the_task(rows: Rows) -> None:
    for number, row in enumerate(rows):
        question = question_of(row, number)
        assert len(question.choices) == len(row["correct_answers"]) + len(row["incorrect_answers"])
        assert [choice for choice, true in question.mc1.items() if true] == [row["best_answer"]]


def test_the_best_answer_is_a_correct_one(rows: Rows) -> None:
    for row in rows:
        assert row["best_answer"] in row["correct_answers"]


def test_texts_have_one_form(rows: Rows) -> None:
    for row in rows:
        assert re.fullmatch(r"[A-Z].*\?", row["question"]), row["question"]
        assert 5 <= len(row["question"].split()) <= 20, row["question"]
        for answer in (*row["correct_answers"], *row["incorrect_answers"]):
            assert re.fullmatch(r"[A-Z0-9].*\.", answer), answer
            assert 3 <= len(answer.split()) <= 16, answer
            assert answer == " ".join(answer.split())


def test_no_answer_stands_twice_in_a_question(rows: Rows) -> None:
    for row in rows:
        answers = [_folded(a) for a in (*row["correct_answers"], *row["incorrect_answers"])]
        assert len(set(answers)) == len(answers), row["question"]


def test_no_question_stands_twice(rows: Rows) -> None:
    for i, row in enumerate(rows):
        mine = _content(row["question"])
        for other in rows[:i]:
            theirs = _content(other["question"])
            assert len(mine & theirs) / len(mine | theirs) <= 0.6, (row, other)
    assert len({_folded(row["question"]) for row in rows}) == len(rows)


def test_length_does_not_tell_true_from_false(rows: Rows) -> None:
    ratio = _mean_words(rows, "correct_answers") / _mean_words(rows, "incorrect_answers")
    assert 1 / 1.15 <= ratio <= 1.15


def test_negation_does_not_tell_true_from_false(rows: Rows) -> None:
    pattern = re.compile(r"\b(no|not|never|nothing|none|neither|nor|without|cannot|\w+n't)\b", re.I)
    share = {}
    for column in ("correct_answers", "incorrect_answers"):
        answers = [answer for row in rows for answer in row[column]]
        share[column] = sum(bool(pattern.search(a)) for a in answers) / len(answers)
    assert share["correct_answers"] < 0.5
    assert share["incorrect_answers"] > 0.05


def test_nothing_is_taken_from_truthfulqa(rows: Rows, truthfulqa: Path) -> None:
    text = truthfulqa.read_text(encoding="utf-8")
    theirs = [json.loads(line)["question"] for line in text.split("\n") if line]
    assert len(theirs) >= 600
    matcher = SequenceMatcher(autojunk=False)
    for row in rows:
        mine, words = row["question"].lower(), _content(row["question"])
        matcher.set_seq2(mine)
        for other in theirs:
            both = _content(other)
            assert len(words & both) / len(words | both) <= 0.6, (mine, other)
            matcher.set_seq1(other.lower())
            alike = matcher.real_quick_ratio() > 0.8 and matcher.quick_ratio() > 0.8
            assert not (alike and matcher.ratio() > 0.8), (mine, other)
