from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from steer._tasks import TASKS, Result
from steer.hooks import DataError

GSM8K, MATH500 = TASKS["gsm8k"], TASKS["math500"]
DUCKS = {"question": "How many?", "answer": "9 * 2 = <<9*2=18>>18\n#### 1,018"}


def test_the_gold_number_of_gsm8k_is_what_follows_the_hashes() -> None:
    item = GSM8K.item(DUCKS, 3)
    assert item.id == 3
    assert item.about == {"gold": "1018"}
    assert "How many?" in item.prompt


def test_a_column_final_answer_goes_before_the_answer() -> None:
    assert GSM8K.item(DUCKS | {"final_answer": "7"}, 0).about == {"gold": "7"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, "^row 5: no column final_answer or answer; it has question"),
        ({"answer": "3"}, "^row 5: no column question; it has answer"),
        ({"question": "q", "answer": "none"}, "^row 5: no number in the answer 'none'"),
        ({"question": "q", "answer": "1", "final_answer": "?"}, r"row 5: no number .* '\?'"),
        ({"question": " ", "answer": "3"}, "^row 5: question must be a non-empty text"),
    ],
)
def test_rows_that_gsm8k_refuses(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        GSM8K.item(row, 5)


def test_gsm8k_takes_the_last_number(scored: Callable[..., list[Result]]) -> None:
    texts = {
        "She has 1018.": 1.0,
        "It is $1,018.00 in all.": 1.0,
        "1018 at first, then 7 more": 0.0,
        "I counted 12 times.\n#### 1018": 1.0,
        "-1018": 0.0,
        "no idea": 0.0,
        "": 0.0,
    }
    found = scored(GSM8K, [DUCKS] * len(texts), list(texts))
    assert [result["correct"] for result in found] == list(texts.values())
    assert [result["read"] for result in found][-2:] == [None, None]
    assert [result["degenerate"] for result in found][-2:] == [0.0, 1.0]


def test_numbers_of_a_question_that_the_model_goes_on_to_ask_itself_do_not_count(
    scored: Callable[..., list[Result]],
) -> None:
    text = "It is 1018.\nQ: What of 5?\nA: 5"
    (found,) = scored(GSM8K, [DUCKS], [text], "qa")
    assert (found["correct"], found["answer"]) == (1.0, "It is 1018.")
    (whole,) = scored(GSM8K, [DUCKS], [text], "plain")
    assert (whole["correct"], whole["answer"]) == (0.0, text)


def test_an_item_of_math500_keeps_its_subject_and_level() -> None:
    row = {"problem": "p?", "answer": " \\frac12 ", "subject": "Algebra", "level": 2, "other": 1}
    item = MATH500.item(row, 0)
    assert item.about == {"gold": "\\frac12", "subject": "Algebra", "level": 2}
    assert "p?" in item.prompt
    assert "boxed" in item.prompt


@pytest.mark.parametrize("missing", ["problem", "answer"])
def test_rows_that_math500_refuses(missing: str) -> None:
    row = {"problem": "p", "answer": "1"}
    del row[missing]
    with pytest.raises(DataError, match=f"^row 8: no column {missing}; it has "):
        MATH500.item(row, 8)


@pytest.mark.skipif(find_spec("math_verify") is None, reason="math-verify is not installed")
def test_math500_compares_the_final_answer(scored: Callable[..., list[Result]]) -> None:
    texts = {
        r"So $\boxed{\frac{1}{2}}$.": 1.0,
        r"\boxed{0.5}": 1.0,
        r"First \boxed{3}, but then \boxed{\tfrac12}": 1.0,
        r"\boxed{2}": 0.0,
        "nothing": 0.0,
    }
    rows = [{"problem": "p", "answer": r"\frac{1}{2}"}] * len(texts)
    found = scored(MATH500, rows, list(texts))
    assert [result["correct"] for result in found] == list(texts.values())
