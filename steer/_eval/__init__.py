"""Evaluation: what steering changes, with controls, intervals, tuning and reports."""

from ._arms import randomised, with_controls
from ._evaluate import Evaluation, evaluate
from ._sweep import sweep
from ._tuning import Tuning

__all__ = ["Evaluation", "Tuning", "evaluate", "randomised", "sweep", "with_controls"]
