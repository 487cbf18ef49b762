"""Evaluation: tasks, scoring, statistics, tuning and reports."""

from ._arms import randomised, with_controls
from ._choices import score_choices
from ._evaluate import Evaluation, evaluate
from ._mc import mc1, mc2
from ._questions import Question, pairs_of, question_of
from ._stats import difference, estimate, mcnemar
from ._tasks import TASKS
from ._tune import Tuning

__all__ = [
    "TASKS",
    "Evaluation",
    "Question",
    "Tuning",
    "difference",
    "estimate",
    "evaluate",
    "mc1",
    "mc2",
    "mcnemar",
    "pairs_of",
    "question_of",
    "randomised",
    "score_choices",
    "with_controls",
]
