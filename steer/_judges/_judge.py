"""What a judge is: a function from exchanges to probabilities."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Exchange(NamedTuple):
    """A request and what a model answered."""

    prompt: str
    answer: str


Judge = Callable[[Sequence[Exchange]], list[float | None]]
"""For each exchange the probability, in [0, 1], that the answer has the property asked for (it
refuses, it is true); None where the judge could not say."""
