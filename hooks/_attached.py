"""Which plans a model is steered by just now."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

from ._plan import Plan
from ._spans import Span

_NOW: WeakKeyDictionary[PreTrainedModel, list[Sequence[Plan | None]]] = WeakKeyDictionary()


@contextmanager
def noted(hf: PreTrainedModel, plans: Sequence[Plan | None]) -> Iterator[None]:
    """Remember that a block steers a model."""
    blocks = _NOW.setdefault(hf, [])
    blocks.append(plans)
    try:
        yield
    finally:
        blocks.remove(plans)


def rows_of(hf: PreTrainedModel) -> int:
    """How many rows the plans that steer a model are given for; 1 if they are for any."""
    return max((len(plans) for plans in _NOW.get(hf, [])), default=1)


def spans_now(hf: PreTrainedModel) -> set[Span]:
    """The spans of the plans that steer a model."""
    plans = (plan for block in _NOW.get(hf, []) for plan in block if plan is not None)
    return {item.span for plan in plans for item in plan}


def attached(hf: PreTrainedModel) -> Iterator[str]:
    """The hashes of the plans that steer a model, outer blocks first; `none` for a row's None."""
    for plans in _NOW.get(hf, []):
        yield " ".join("none" if plan is None else plan.hash for plan in plans)
