"""States of texts from which some tokens have been taken away."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from steer.hooks import Model, by_tokens, capture, resid_post, track

from ._integrated import embedded

Ablated = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids, and the places of those that are taken away."""


@torch.no_grad()
def last_states(
    model: Model,
    rows: Sequence[Ablated],
    layers: Sequence[int],
    absent: Float[Tensor, " d_model"],
    *,
    batch_tokens: int,
    progress: bool = False,
) -> dict[int, Float[Tensor, "rows d_model"]]:
    """States after each layer at the last token of each row; rows that repeat are run once.

    Args:
        model: the model.
        rows: token ids and the places to ablate.
        layers: where to read.
        absent: the embedding that stands for an ablated token.
        batch_tokens: tokens in a pass, padding included.
        progress: show a bar.
    """
    unique = list(dict.fromkeys(rows))
    found = {layer: torch.zeros(len(unique), model.d_model) for layer in layers}
    groups = by_tokens([len(ids) for ids, _ in unique], batch_tokens)
    for group in track(groups, "reading states", total=len(groups), show=progress):
        states = _read(model, [unique[i] for i in group], layers, absent)
        for layer, last in states.items():
            found[layer][group] = last.float().cpu()
    place = {row: n for n, row in enumerate(unique)}
    order = [place[row] for row in rows]
    return {layer: states[order] for layer, states in found.items()}


def _read(
    model: Model, rows: Sequence[Ablated], layers: Sequence[int], absent: Float[Tensor, " d_model"]
) -> dict[int, Float[Tensor, "rows d_model"]]:
    batch = model.batch([list(ids) for ids, _ in rows], pad="right")
    embeds = embedded(model, batch.pop("input_ids"))
    for r, (_, places) in enumerate(rows):
        embeds[r, list(places)] = absent
    sites = {layer: resid_post(layer) for layer in layers}
    states = capture(model, {"inputs_embeds": embeds, **batch}, list(sites.values()))
    every = torch.arange(len(rows), device=model.device)
    ends = batch["attention_mask"].sum(1) - 1
    return {layer: states[site][every, ends] for layer, site in sites.items()}
