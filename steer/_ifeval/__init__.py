"""The instruction checkers of IFEval: does a response do what its prompt verifiably asks?

Written anew after Zhou et al. 2023, https://arxiv.org/abs/2311.07911, table 1, and the behaviour of
google-research's `instruction_following_eval`, quirks included, so that scores are comparable.
"""

from ._checkers import CHECKERS, Checker
from ._follows import check, follows

__all__ = ["CHECKERS", "Checker", "check", "follows"]
