"""Intervals and tests for paired results: every item is measured under each arm."""

from ._column import Column, Transform, mean_of
from ._difference import Difference, difference
from ._estimate import Estimate, estimate, wilson
from ._p_values import holm, mcnemar
from ._paired_t import paired_t
from ._power import minimum_detectable_effect

__all__ = [
    "Column",
    "Difference",
    "Estimate",
    "Transform",
    "difference",
    "estimate",
    "holm",
    "mcnemar",
    "mean_of",
    "minimum_detectable_effect",
    "paired_t",
    "wilson",
]
