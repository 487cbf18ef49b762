"""Runs a model over many items: choices, continuations and texts, in batches by token count."""

from ._answers import Answer, Asked, answers
from ._choices import ready, score_choices
from ._primer import Primer, primed
from ._texts import Compared, compare

__all__ = [
    "Answer",
    "Asked",
    "Compared",
    "Primer",
    "answers",
    "compare",
    "primed",
    "ready",
    "score_choices",
]
