"""What a task is: data in, results of each item out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from steer._files import Row
from steer.attribution import Pair
from steer.hooks import Plan

from ._setting import Setting

Arms = Mapping[str, Plan | None]
"""Plans by name; None is the unsteered model."""

Result = dict[str, Any]
"""What one item showed under one arm: the metrics' values, and details for the reader."""

Measure = Callable[[Setting, Sequence[Any], Arms], dict[str, list[Result]]]
"""Runs items under every arm."""


@runtime_checkable
class Item(Protocol):
    """One row of a task's data."""

    @property
    def id(self) -> int:
        """Its number among the task's items, from 0."""

    @property
    def shown(self) -> Mapping[str, Any]:
        """What `rows.jsonl` says about it."""


@dataclass(frozen=True)
class Metric:
    """One number of an item, and how the items' numbers make one of the whole.

    The mean `sum(weight * value) / sum(weight)`; items without a value take no part.
    """

    name: str
    """What tables call it."""

    about: str
    """One line on what it measures."""

    better: Literal["higher", "lower"] | None = None
    """Which way is better; None if neither is."""

    proportion: bool = True
    """Whether values are 0 or 1."""

    value: str | None = None
    """The key of its value in a result; None if that is the name."""

    weight: str | None = None
    """The key of its weight in a result; None if all weigh the same."""

    exponential: bool = False
    """Whether e is raised to the mean, as for a perplexity."""


@dataclass(frozen=True)
class Task:
    """What is asked, of which data, and what is measured."""

    name: str
    """What the command line calls it."""

    about: str
    """One line on what it measures."""

    source: str
    """Where the data comes from."""

    licence: str
    """Of the data."""

    metrics: tuple[Metric, ...]
    """The first is what tuning goes by."""

    item: Callable[[Row, int], Item]
    """An item from a row of the data."""

    measure: Measure
    """Runs the items."""

    prompts: tuple[str, ...] = ("chat", "qa", "plain")
    """The prompt formats that it knows; the first is the default."""

    named: tuple[str, ...] = ()
    """Names of data that `--data` takes besides files."""

    default: str | None = None
    """The one of these that is taken without `--data`; None if the user has to say."""

    prepare: Callable[[Iterable[Row]], Iterable[Row]] = iter
    """Rows of items from rows of the file."""

    pairs: Callable[[Sequence[Any], str, int], list[Pair]] | None = None
    """Contrastive pairs from items, a prompt format and a seed, for methods to learn from."""

    chunk: int = 32
    """Items between two writes to the disk."""

    new_tokens: int | None = None
    """Tokens of an answer, at most; None if nothing is generated."""

    question: str | None = None
    """What judges are asked about an answer; None if none is needed."""

    judges: tuple[str, ...] = ()
    """The judges by default."""

    needs: tuple[str, ...] = ()
    """Modules of the extra `eval` that its scorer imports."""

    randoms: int = 5
    """Random vectors that are measured beside a plan."""

    @property
    def main(self) -> Metric:
        """The metric that tuning goes by."""
        return self.metrics[0]
