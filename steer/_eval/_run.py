"""Measures every arm on the same questions, a few questions at a time, resumably."""

from collections.abc import Mapping, Sequence
from typing import Any

from steer.hooks import attach, track

from ._arms import Arms
from ._mc import measure
from ._questions import Question
from ._rows import Rows
from ._setting import Setting

CHUNK = 32
"""Questions between two writes to the disk."""


def run_arms(
    setting: Setting, questions: Sequence[Question], arms: Arms, rows: Rows
) -> list[dict[str, Any]]:
    """One row a question, with the results of each arm; rows that are there already are kept."""
    for plan in arms.values():  # a plan that does not fit should say so before the work begins
        with attach(setting.model, plan):
            pass
    todo = [q for q in questions if q.id not in rows.found]
    steps = [(todo[i : i + CHUNK], name) for i in range(0, len(todo), CHUNK) for name in arms]
    found: dict[str, list[dict[str, Any]]] = {}
    for chunk, name in track(steps, "evaluating", total=len(steps), show=setting.progress):
        with attach(setting.model, arms[name]):
            found[name] = measure(setting, chunk)
        if len(found) == len(arms):
            rows.append([_row(q, n, found) for n, q in enumerate(chunk)])
            found = {}
    return [rows.found[q.id] for q in questions]


def _row(question: Question, n: int, found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    about = {"id": question.id, "question": question.text, "choices": question.choices}
    return about | {name: results[n] for name, results in found.items()}
