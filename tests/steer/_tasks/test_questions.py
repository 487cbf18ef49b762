from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import quiz
from steer._files import read_rows
from steer._tasks import Question, pairs_of, question_of
from steer.attribution import Pair
from steer.hooks import DataError

CSV = """Category,Question,Best Answer,Best Incorrect Answer,Correct Answers,Incorrect Answers
Myths,"What, then?",Nothing,Death,Nothing; Nothing happens ;It passes,"Death; You ""die"" ;"
"""
ROW = {
    "question": " Is it? ",
    "best_answer": "yes",
    "correct_answers": ["yes", "it is "],
    "incorrect_answers": ["no", "", " never"],
}


def test_a_row_of_the_csv(tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    path.write_text(CSV)
    (row,) = read_rows(path)
    found = question_of(row, 5)
    false = {"Death": False, 'You "die"': False}
    assert found == Question(
        id=5,
        text="What, then?",
        category="Myths",
        mc1={"Nothing": True} | false,
        mc2={"Nothing": True, "Nothing happens": True, "It passes": True} | false,
    )


def test_a_row_of_json() -> None:
    found = question_of(ROW, 0)
    assert (found.text, found.category) == ("Is it?", "")
    assert found.mc1 == {"yes": True, "no": False, "never": False}
    assert found.mc2 == {"yes": True, "it is": True, "no": False, "never": False}


def test_targets_of_the_row_come_before_derived_ones() -> None:
    targets = {"mc1_targets": {"yes": 1, "nay": 0}, "mc2_targets": {"aye": 1, "no": 0, "nay": 0}}
    found = question_of(ROW | targets, 0)
    assert found.mc1 == {"yes": True, "nay": False}
    assert found.mc2 == {"aye": True, "no": False, "nay": False}
    assert found.choices == ["yes", "nay", "aye", "no"]


def test_each_distinct_choice_is_listed_once() -> None:
    assert question_of(ROW, 0).choices == ["yes", "no", "never", "it is"]


@pytest.mark.parametrize(
    "column", ["question", "best_answer", "correct_answers", "incorrect_answers"]
)
def test_a_missing_column_is_named_with_the_row(column: str) -> None:
    row = {key: value for key, value in ROW.items() if key != column}
    with pytest.raises(DataError, match=f"^row 7: no column '{column}'; expected question, best_"):
        question_of(row, 7)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"incorrect_answers": []}, "mc1"),
        ({"incorrect_answers": " ; "}, "mc1"),
        ({"incorrect_answers": ["yes"]}, "mc1"),
        ({"mc1_targets": {"yes": 1, "aye": 1}}, "mc1"),
        ({"mc2_targets": {"no": 0}}, "mc2"),
    ],
)
def test_a_question_needs_a_true_and_a_false_choice(change: dict[str, Any], name: str) -> None:
    with pytest.raises(DataError, match=f"^row 3: {name} needs a true and a false choice, got "):
        question_of(ROW | change, 3)


QUESTIONS = [question_of(row, n) for n, row in enumerate(quiz.rows())]
TEMPLATE = "Q: {question} A:"


def test_every_choice_takes_part_in_the_pairs() -> None:
    pairs = pairs_of(QUESTIONS, TEMPLATE, seed=0)
    for question in QUESTIONS:
        mine = [pair for pair in pairs if pair.prompt == f"Q: {question.text} A:"]
        for side, label in (("chosen", True), ("rejected", False)):
            choices = {choice for choice, is_true in question.mc2.items() if is_true is label}
            times = Counter(getattr(pair, side) for pair in mine)
            assert set(times) == choices
            assert max(times.values()) - min(times.values()) <= 1
    # Two or three true ones against two false ones, in turn.
    assert len(pairs) == sum(2 if n % 2 == 0 else 3 for n in range(12))


def test_pairs_depend_on_nothing_but_the_seed() -> None:
    assert pairs_of(QUESTIONS, TEMPLATE, 3) == pairs_of(QUESTIONS, TEMPLATE, 3)
    drawn = {
        tuple((p.chosen, p.rejected) for p in pairs_of(QUESTIONS, TEMPLATE, s)) for s in (3, 4)
    }
    assert len(drawn) == 2


def test_braces_in_a_question_stay() -> None:
    question = Question(0, "What is {x}?", "", {}, {"a set": True, "a dict": False})
    assert pairs_of([question], TEMPLATE, 0) == [Pair("Q: What is {x}? A:", "a set", "a dict")]


def test_the_whole_of_truthfulqa_can_be_used(truthfulqa: Path) -> None:
    rows = read_rows(truthfulqa)
    questions = [question_of(row, n) for n, row in enumerate(rows)]
    assert len(questions) == len(rows) >= 600
    for row, question in zip(rows, questions, strict=True):
        assert list(question.mc1.values()).count(True) == 1
        assert question.mc2 == row["mc2_targets"]
    sides = [sorted(question.mc2.values()) for question in questions]
    longer = sum(max(side.count(True), side.count(False)) for side in sides)
    assert len(pairs_of(questions, TEMPLATE, 0)) == longer


def test_the_parallel_lists_of_the_hub() -> None:
    row = {
        "question": "q?",
        "best_answer": "a",
        "correct_answers": ["a"],
        "incorrect_answers": ["b"],
        "mc1_targets": {"choices": ["a", "b"], "labels": [1, 0]},
        "mc2_targets": {"choices": ["a", "c", "b"], "labels": [1, 1, 0]},
    }
    question = question_of(row, 0)
    assert question.mc1 == {"a": True, "b": False}
    assert question.mc2 == {"a": True, "c": True, "b": False}


def test_targets_alone_are_enough() -> None:
    row = {"question": "q?", "mc1_targets": {"a": 1, "b": 0}, "mc2_targets": {"a": 1, "b": 0}}
    assert question_of(row, 0).choices == ["a", "b"]


@pytest.mark.parametrize(
    "broken",
    [
        {"incorrect_answers": None},
        {"incorrect_answers": [3]},
        {"best_answer": None},
        {"best_answer": " "},
        {"question": ""},
        {"mc1_targets": ["a"]},
        {"mc1_targets": "{'a': 1}"},
    ],
)
def test_a_column_of_the_wrong_kind(broken: dict[str, Any]) -> None:
    row = {
        "question": "q?",
        "best_answer": "a",
        "correct_answers": ["a"],
        "incorrect_answers": ["b"],
    }
    with pytest.raises(DataError, match=r"^row 7: a column is not what it should be"):
        question_of(row | broken, 7)
