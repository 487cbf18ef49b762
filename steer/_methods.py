"""The extraction methods by name."""

from collections.abc import Callable, Iterable
from typing import Any

from transformers import PreTrainedModel

from steer.attribution import PairLike, caa, grains, repe
from steer.hooks import Model, Plan, TaskError, as_model

METHODS: dict[str, Callable[..., Plan]] = {"caa": caa, "grains": grains, "repe": repe}
"""Each takes a model, pairs and layers, and returns a plan."""


def extract(
    method: str,
    model: Model | PreTrainedModel,
    pairs: Iterable[PairLike],
    layers: int | Iterable[int] | None = None,
    **options: Any,
) -> Plan:
    """A plan by the method of that name.

    Args:
        method: `caa`, `grains` or `repe`.
        model: the model to read from.
        pairs: prompt, chosen and rejected answer of each.
        layers: where to steer; by default one layer at 60 % of the depth.
        options: the method's own.

    Raises:
        TaskError: unknown method. DataError: no pairs, or broken ones. SiteError: no such layer.
    """
    if method not in METHODS:
        raise TaskError(f"extract: unknown method {method!r}; expected {', '.join(METHODS)}")
    return METHODS[method](as_model(model), pairs, layers, **options)
