"""The extraction methods by name."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from transformers import PreTrainedModel

from steer._versions import versions
from steer.attribution import PairLike, as_pairs, caa, grains, repe
from steer.hooks import Model, Plan, TaskError, as_model

Method = Callable[..., Plan]

METHODS: dict[str, Method] = {"caa": caa, "grains": grains, "repe": repe}
"""Each takes a model, pairs and layers, and returns a plan."""


def extract(
    method: str,
    model: Model | PreTrainedModel,
    pairs: Iterable[PairLike],
    layers: int | Iterable[int] | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> Plan:
    """A plan by the method of that name.

    Args:
        method: `caa`, `grains` or `repe`.
        model: the model to read from.
        pairs: prompt, chosen and rejected answer of each.
        layers: where to steer; by default one layer at 60 % of the depth.
        seed: of the random numbers that a method may draw; these three draw none.
        options: the method's own.

    Returns:
        The plan; its `meta` says how it was made, from which data and with which versions.

    Raises:
        TaskError: unknown method. DataError: no pairs, or broken ones. SiteError: no such layer.
    """
    make = method_of(method)
    checked = as_pairs(pairs)
    plan = make(as_model(model), checked, layers, **options)
    data = json.dumps([asdict(pair) for pair in checked], ensure_ascii=False)
    made = {
        "data": hashlib.sha256(data.encode()).hexdigest(),
        "versions": versions(),
        "seed": seed,
    }
    return Plan(plan.interventions, dict(plan.meta) | made)


def method_of(name: str) -> Method:
    """The method of that name.

    Raises:
        TaskError: if there is none.
    """
    if name not in METHODS:
        raise TaskError(f"unknown method {name!r}; expected one of {', '.join(METHODS)}")
    return METHODS[name]
