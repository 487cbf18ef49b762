"""Judges of generated answers: whether they refuse, are true, are broken."""

from ._agreement import agreement
from ._asking import REFUSAL_QUESTION, TRUTH_QUESTION, with_references
from ._degenerate import degenerate, repetition
from ._endpoint import endpoint
from ._judge import Exchange, Judge
from ._named import judge_of
from ._phrases import phrases, refuses
from ._verdict import verdict

__all__ = [
    "REFUSAL_QUESTION",
    "TRUTH_QUESTION",
    "Exchange",
    "Judge",
    "agreement",
    "degenerate",
    "endpoint",
    "judge_of",
    "phrases",
    "refuses",
    "repetition",
    "verdict",
    "with_references",
]
