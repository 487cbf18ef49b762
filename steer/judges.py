"""Judges of generated answers: whether they refuse, are true, or are broken."""

from ._judges import (
    REFUSAL_QUESTION,
    TRUTH_QUESTION,
    Exchange,
    Judge,
    agreement,
    degenerate,
    endpoint,
    judge_of,
    phrases,
    refuses,
    repetition,
    verdict,
    with_references,
)

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
