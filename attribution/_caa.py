"""Contrastive activation addition (CAA, https://arxiv.org/abs/2312.06681)."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from steer.hooks import ALL, GENERATED, DataError, Model, Plan, Span, as_model, record, resid_post

from ._build import layers_of, plan_of
from ._directions import Aggregate, mean
from ._pairs import Pair, PairLike, answer_ids, as_pairs

Read = Literal["last", "mean"]


def caa(
    model: Model | PreTrainedModel,
    pairs: Iterable[PairLike],
    layers: int | Iterable[int] | None = None,
    *,
    strength: float = 0.1,
    span: Span | str = ALL,
    keep_norm: bool = True,
    read: Read = "last",
    aggregate: Aggregate = mean,
    batch_tokens: int = 1024,
    progress: bool = False,
) -> Plan:
    """A steering vector from the difference of states after preferred and dispreferred answers.

    `v[l] = aggregate_pairs( h[l](x + y+) - h[l](x + y-) )`, added after layer `l`.

    Args:
        model: the model to read from.
        pairs: prompt, chosen and rejected answer of each.
        layers: where to steer; by default one layer at 60 % of the depth.
        strength: of the plan, as a fraction of the layer's own residual norm.
        span: which tokens the plan edits.
        keep_norm: rescale each edited token to the norm it had.
        read: `last` reads the answer's last token, as the paper does; `mean` averages over the
            answer's tokens.
        aggregate: from the pairs' differences at a layer to one direction.
        batch_tokens: tokens in a pass, padding included.
        progress: show a bar.

    Raises:
        DataError: no pairs or broken ones, or an unknown `read`. SiteError: no such layer.
    """
    if read not in ("last", "mean"):
        raise DataError(f"caa: unknown read {read!r}; expected last or mean")
    model = as_model(model)
    chosen_layers, checked = layers_of(model, layers), as_pairs(pairs)
    states = answer_states(
        model, checked, chosen_layers, read, batch_tokens=batch_tokens, progress=progress
    )
    directions = {n: aggregate(good - bad) for n, (good, bad) in states.items()}
    norms = {n: typical_norm(torch.cat(both)) for n, both in states.items()}
    meta = {"method": "caa", "pairs": len(checked), "read": read}
    return plan_of(
        model, directions, norms, strength=strength, span=span, keep_norm=keep_norm, meta=meta
    )


def answer_states(
    model: Model,
    pairs: Sequence[Pair],
    layers: Sequence[int],
    read: Read,
    *,
    batch_tokens: int,
    progress: bool,
) -> dict[int, tuple[Float[Tensor, "pairs d_model"], Float[Tensor, "pairs d_model"]]]:
    """At each layer the states of the chosen and of the rejected answers."""
    rows = [answer_ids(model, p.prompt, p.chosen) for p in pairs]
    rows += [answer_ids(model, p.prompt, p.rejected) for p in pairs]
    sites = [resid_post(layer) for layer in layers]
    found = record(
        model,
        rows,
        sites,
        span=GENERATED,
        pool=read,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    return {
        layer: (found[site][: len(pairs)], found[site][len(pairs) :])
        for layer, site in zip(layers, sites, strict=True)
    }


def typical_norm(states: Float[Tensor, "rows d_model"]) -> float:
    """The median norm of residual states: the unit in which strengths are given."""
    return float(states.norm(dim=-1).median())
