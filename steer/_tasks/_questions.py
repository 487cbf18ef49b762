"""Multiple-choice questions with true and false answers, in TruthfulQA's shape."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from steer.attribution import Pair
from steer.hooks import DataError

Labels = Mapping[str, bool]
"""Each choice, and whether it is true."""


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: its number in the data file, from 0.
        text: the question.
        category: its topic.
        mc1: one true choice among false ones.
        mc2: several true and several false choices.
        note: what its reader should know.
    """

    id: int
    text: str
    category: str
    mc1: Labels
    mc2: Labels
    note: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Any]:
        """What `rows.jsonl` says about it."""
        return {"question": self.text, "choices": self.choices} | dict(self.note)

    @property
    def choices(self) -> list[str]:
        """Every distinct choice; each is scored once."""
        return list(dict.fromkeys([*self.mc1, *self.mc2]))


def question_of(row: Mapping[str, Any], number: int) -> Question:
    """A question from a row of TruthfulQA's CSV, of its JSON, or of the built-in set.

    Where the row brings no `mc1_targets` and `mc2_targets`, they are the best answer against the
    false ones, and all true ones against all false ones.

    Raises:
        DataError: a column is missing, or there is no true or no false answer.
    """
    row = {key.lower().replace(" ", "_"): value for key, value in row.items()}
    try:
        text, category = _text(row["question"]), str(row.get("category", ""))
        mc1 = _labels(row.get("mc1_targets")) or _against(
            [_text(row["best_answer"])], _answers(row["incorrect_answers"])
        )
        mc2 = _labels(row.get("mc2_targets")) or _against(
            [_text(row["best_answer"]), *_answers(row["correct_answers"])],
            _answers(row["incorrect_answers"]),
        )
    except KeyError as error:
        raise DataError(
            f"row {number}: no column {error}; expected question, best_answer, correct_answers and "
            "incorrect_answers, or question, mc1_targets and mc2_targets"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"row {number}: a column is not what it should be ({error})") from error
    for name, labels in (("mc1", mc1), ("mc2", mc2)):
        if len(set(labels.values())) != 2:
            raise DataError(f"row {number}: {name} needs a true and a false choice, got {labels}")
    return Question(number, text, category, mc1, mc2)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text, got {value!r}")
    return value.strip()


def _answers(value: str | Sequence[str]) -> list[str]:
    parts = value.split(";") if isinstance(value, str) else value
    return [part.strip() for part in parts if part.strip()]


def _labels(value: Mapping[str, Any] | None) -> dict[str, bool]:
    """Each choice with its label, from `{choice: 1, ...}` or the hub's two parallel lists."""
    if not value:
        return {}
    if value.keys() == {"choices", "labels"}:
        value = dict(zip(value["choices"], value["labels"], strict=True))
    return {choice: bool(label) for choice, label in value.items()}


def _against(true: Sequence[str], false: Sequence[str]) -> dict[str, bool]:
    return dict.fromkeys(true, True) | dict.fromkeys(false, False)


def pairs_of(questions: Sequence[Question], template: str, seed: int) -> list[Pair]:
    """Contrastive pairs from the true and false choices of each question.

    Every choice takes part: the shuffled true and false ones are paired in turn, the shorter list
    starting over, so that a direction does not hang on one drawn answer.
    """
    rng = random.Random(seed)
    return [
        Pair(template.format(question=question.text), true, false)
        for question in questions
        for true, false in _in_turn(question, rng)
    ]


def _in_turn(question: Question, rng: random.Random) -> Iterator[tuple[str, str]]:
    true = [choice for choice, label in question.mc2.items() if label]
    false = [choice for choice, label in question.mc2.items() if not label]
    rng.shuffle(true)
    rng.shuffle(false)
    count = max(len(true), len(false))
    return islice(zip(cycle(true), cycle(false), strict=True), count)
