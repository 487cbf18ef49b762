"""TruthfulQA with two choices: the best true answer against the best false one (the 2025 form)."""

from dataclasses import replace

from steer._files import Row
from steer.hooks import DataError

from ._choosing import choosing
from ._questions import Question, question_of
from ._task import Metric, Result
from ._truthfulqa import TRUTHFULQA, form, head


def _item(row: Row, number: int) -> Question:
    """The question with its best true and best false answer.

    Older files have no column `Best Incorrect Answer`; then the first incorrect one stands in for
    it, and the row says so.
    """
    plain = {key.lower().replace(" ", "_"): value for key, value in row.items()}
    whole = question_of(row, number)
    false = str(plain.get("best_incorrect_answer") or "").strip()
    named = bool(false)
    if not named:
        false = next(choice for choice, label in whole.mc2.items() if not label)
    true = next(choice for choice, label in whole.mc1.items() if label)
    if true == false:
        raise DataError(f"row {number}: the true and the false answer are the same, {true!r}")
    labels = {true: True, false: False}
    note = (
        {}
        if named
        else {"note": "no best incorrect answer in the data: the first incorrect one stands for it"}
    )
    return replace(whole, mc1=labels, mc2=labels, note=note)


def _score(question: Question, values: list[float]) -> Result:
    by_choice = dict(zip(question.choices, values, strict=True))
    true, false = (by_choice[choice] for choice in question.mc1)
    return {"correct": float(true > false), "margin": true - false, "scores": values}


TRUTHFULQA_BINARY = replace(
    TRUTHFULQA,
    name="truthfulqa-binary",
    about="TruthfulQA with the best true and the best false answer",
    metrics=(
        Metric("correct", "the true answer is likelier", "higher"),
        Metric("margin", "log-odds of the true answer", "higher", proportion=False),
    ),
    item=_item,
    measure=choosing(form, _score, head, {"correct": 0.0, "margin": -100.0}),
)
