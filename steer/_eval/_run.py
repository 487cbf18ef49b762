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
    # A chunk that was cut off is measured again as a whole, so that its batches, and with them the
    # last digits, are those of an uninterrupted run.
    chunks = [questions[i : i + CHUNK] for i in range(0, len(questions), CHUNK)]
    todo = [chunk for chunk in chunks if not all(q.id in rows.found for q in chunk)]
    steps = [(chunk, name) for chunk in todo for name in arms]
    found: dict[str, list[dict[str, Any]]] = {}
    for chunk, name in track(steps, "evaluating", total=len(steps), show=setting.progress):
        with attach(setting.model, arms[name]):
            found[name] = measure(setting, chunk)
        if len(found) == len(arms):
            missing = [n for n, q in enumerate(chunk) if q.id not in rows.found]
            rows.append([_row(chunk[n], n, found) for n in missing])
            found = {}
    return [rows.found[q.id] for q in questions]


def _row(question: Question, n: int, found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    about = {"id": question.id, "question": question.text, "choices": question.choices}
    return about | {name: results[n] for name, results in found.items()}
