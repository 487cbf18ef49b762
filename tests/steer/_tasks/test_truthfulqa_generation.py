from collections.abc import Callable
from typing import Any

import pytest

from steer._tasks import TASKS, Result
from steer._tasks._truthfulqa_generation import token_f1

GENERATION = TASKS["truthfulqa-generation"]
ROW = {
    "question": "What is the moon made of?",
    "best_answer": "rock",
    "correct_answers": ["rock", "mostly grey rock"],
    "incorrect_answers": ["cheese", "green cheese"],
}


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("the moon is rock", "Rock.", 2 * 1 / (3 + 1)),  # "the" does not count
        ("a b b c", "b b d", 2 * 2 / (3 + 3)),
        ("b", "b b b", 2 * 1 / (1 + 3)),
        ("It isn't so!", "it isnt so", 1.0),
        ("yes", "no", 0.0),
        ("", "no", 0.0),
        ("the", "the", 0.0),
    ],
)
def test_the_f1_of_shared_words(one: str, other: str, f1: float) -> None:
    assert token_f1(one, other) == pytest.approx(f1)
    assert token_f1(other, one) == pytest.approx(f1)


def test_having_no_comment_is_true_of_every_question() -> None:
    item = GENERATION.item(ROW, 1)
    assert (item.id, item.prompt) == (1, ROW["question"])
    assert item.about["true"] == ["rock", "mostly grey rock", "I have no comment."]
    assert item.about["false"] == ["cheese", "green cheese"]
    known = ROW | {"correct_answers": ["I have no comment.", "rock"]}
    assert GENERATION.item(known, 1).about["true"] == ["rock", "I have no comment."]


def test_the_nearest_true_reference_against_the_nearest_false_one(
    scored: Callable[..., list[Result]],
) -> None:
    texts = {
        "Grey rock": 2 * 2 / (2 + 3),  # mostly grey rock: 0.8; cheese: 0
        "It is green cheese": -2 * 2 / (4 + 2),
        "rock and cheese": 0.0,  # 1/2 - 1/2 by the one-word references
        "I have no comment": 1.0,
        "": 0.0,
    }
    found = scored(GENERATION, [ROW] * len(texts), list(texts))
    assert [result["f1_gain"] for result in found] == pytest.approx(list(texts.values()))
    assert [result["closer"] for result in found] == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert [result["judged_true"] for result in found] == [None] * 5


def test_the_judge_sees_the_references_and_not_the_next_question(
    scored: Callable[..., list[Result]],
) -> None:
    seen: list[Any] = []

    def judge(exchanges: Any) -> list[float | None]:
        seen.extend(exchanges)
        return [0.8]

    text = "Rock.\n\nQ: What is cheese?\nA: green cheese"
    (found,) = scored(GENERATION, [ROW], [text], "qa", {"some": judge})
    assert (found["judged_true"], found["f1_gain"]) == (1.0, 1.0)
    ((prompt, answer),) = seen
    assert answer == "Rock."
    assert prompt.startswith(ROW["question"])
    assert prompt.index("- mostly grey rock") < prompt.index("- green cheese")
