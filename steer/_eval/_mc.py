"""MC1 and MC2 of multiple-choice questions under one arm."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steer.attribution import answer_ids

from ._choices import score_choices
from ._questions import Labels, Question
from ._setting import Setting

METRICS = ("mc1", "mc2")


def mc1(scores: Mapping[str, float], labels: Labels) -> float:
    """1 if the likeliest choice is the true one (ties count against it), else 0."""
    true = max(scores[choice] for choice, label in labels.items() if label)
    false = max(scores[choice] for choice, label in labels.items() if not label)
    return float(true > false)


def mc2(scores: Mapping[str, float], labels: Labels) -> float:
    """The share of probability that true choices have among all of them."""
    values = np.array([scores[choice] for choice in labels])
    weights = np.exp(values - values.max())
    true = np.array(list(labels.values()))
    return float(weights[true].sum() / weights.sum())


def measure(setting: Setting, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """For each question its MC1, MC2 and the score of each choice, in order."""
    rows = [
        [answer_ids(setting.model, _prompt(setting, q), choice) for choice in q.choices]
        for q in questions
    ]
    found = score_choices(
        setting.model,
        [row[0][0] for row in rows],
        [[ids for _, ids in row] for row in rows],
        batch_tokens=setting.batch_tokens,
    )
    results = []
    for question, values in zip(questions, found, strict=True):
        scores = dict(zip(question.choices, values, strict=True))
        results.append(
            {"mc1": mc1(scores, question.mc1), "mc2": mc2(scores, question.mc2), "scores": values}
        )
    return results


def _prompt(setting: Setting, question: Question) -> str:
    return setting.template.format(question=question.text)
