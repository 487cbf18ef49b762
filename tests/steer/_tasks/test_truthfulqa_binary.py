from typing import Any

import pytest

import byhand
import quiz
import tiny
from steer._tasks import TASKS, Setting
from steer.hooks import DataError

BINARY = TASKS["truthfulqa-binary"]
ROW = {
    "question": "q?",
    "best_answer": "yes",
    "correct_answers": ["yes", "it is"],
    "incorrect_answers": ["no", "never"],
}


def test_the_best_true_against_the_best_false_answer() -> None:
    item = BINARY.item(ROW | {"Best Incorrect Answer": " never "}, 3)
    assert item.mc1 == item.mc2 == {"yes": True, "never": False}
    assert item.shown == {"question": "q?", "choices": ["yes", "never"]}
    assert item.id == 3


@pytest.mark.parametrize(
    "change", [{}, {"best_incorrect_answer": ""}, {"best_incorrect_answer": None}]
)
def test_the_first_incorrect_one_stands_in_and_the_row_says_so(change: dict[str, Any]) -> None:
    item = BINARY.item(ROW | change, 0)
    assert item.mc1 == item.mc2 == {"yes": True, "no": False}
    assert "the first incorrect one" in item.shown["note"]


def test_rows_that_are_refused() -> None:
    with pytest.raises(
        DataError, match="^row 2: the true and the false answer are the same, 'yes'"
    ):
        BINARY.item(ROW | {"best_incorrect_answer": "yes"}, 2)
    with pytest.raises(DataError, match="^row 2: no column 'best_answer'"):
        BINARY.item({name: value for name, value in ROW.items() if name != "best_answer"}, 2)


def test_margins_by_hand() -> None:
    model = tiny.model()
    rows = quiz.rows()
    items = [BINARY.item(row, n) for n, row in enumerate(rows)]
    found = BINARY.measure(Setting(model, "qa"), items, {"base": None})["base"]
    for row, result in zip(rows, found, strict=True):
        prompt = model.tokenizer(f"Q: {row['question']}\nA:")["input_ids"]
        true, false = (
            byhand.score(model.hf, prompt, model.tokenizer(answer)["input_ids"])
            for answer in (row["best_answer"], row["incorrect_answers"][0])
        )
        assert result["scores"] == pytest.approx([true, false], abs=1e-4)
        assert result["margin"] == pytest.approx(true - false, abs=2e-4)
        assert result["correct"] == float(true > false)
    assert {result["correct"] for result in found} == {0.0, 1.0}
