"""Representation engineering: the principal axis of contrast (https://arxiv.org/abs/2310.01405)."""

from collections.abc import Iterable
from typing import Any

from transformers import PreTrainedModel

from steer.hooks import Model, Plan, PlanError

from ._caa import caa
from ._directions import principal
from ._pairs import PairLike


def repe(
    model: Model | PreTrainedModel,
    pairs: Iterable[PairLike],
    layers: int | Iterable[int] | None = None,
    **options: Any,
) -> Plan:
    """A steering vector from the first principal component of the differences.

    `v[l] = PC1_pairs( h[l](x + y+) - h[l](x + y-) )`, oriented with the mean difference, since the
    sign of a principal component is arbitrary. Unlike the paper's reading vectors, the states are
    those of the answers, so that CAA and RepE differ in nothing but mean against principal axis.

    Args:
        model: the model to read from.
        pairs: prompt, chosen and rejected answer of each.
        layers: where to steer; by default one layer at 60 % of the depth.
        options: the others of `caa` except `aggregate`.

    Raises:
        DataError: no pairs, or broken ones. SiteError: no such layer.
    """
    if "aggregate" in options:
        raise PlanError("repe: the aggregate is the principal axis; use caa for another one")
    plan = caa(model, pairs, layers, aggregate=principal, **options)
    return Plan(plan.interventions, dict(plan.meta) | {"method": "repe"})
