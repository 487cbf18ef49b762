"""Scores choices one row each, on a copy of their prompt's KV cache."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from steer.hooks import Model, by_tokens
from steer.hooks import prompts as told

from ._halving import halving

_HELD = 16  # cached tokens for each token of a batch: they cost memory, if no work


class _Choice(NamedTuple):
    row: int  # of its prompt, in the batch of prompts
    owner: int  # index of its prompt
    number: int  # among the prompt's choices
    ids: Sequence[int]


class _Begun(NamedTuple):
    """Prompts that have been run."""

    cache: Any
    ids: Int[Tensor, "prompts seq"]
    mask: Int[Tensor, "prompts seq"]
    first: Float[Tensor, "prompts vocab"]  # log-probabilities of the first token after each


@torch.no_grad()
def score_rowwise(
    model: Model,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
    *,
    batch_tokens: int,
) -> list[list[float]]:
    """What `score_choices` returns, for any model whose cache can be copied."""
    scores = [[0.0] * len(group) for group in choices]

    def score(group: Sequence[int]) -> None:
        begun = _begin(model, [prompts[i] for i in group])
        waiting = [
            _Choice(row, i, n, ids)
            for row, i in enumerate(group)
            for n, ids in enumerate(choices[i])
        ]

        def score_some(chosen: Sequence[_Choice]) -> None:
            for choice, value in zip(chosen, _score(model, chosen, begun).tolist(), strict=True):
                scores[choice.owner][choice.number] = value

        width = begun.ids.shape[1] + max(len(c.ids) for c in waiting)
        rows = max(1, _HELD * batch_tokens // width)
        for some in by_tokens([len(c.ids) - 1 for c in waiting], batch_tokens):
            for at in range(0, len(some), rows):
                halving(score_some, [waiting[i] for i in some[at : at + rows]])

    for group in by_tokens([len(p) for p in prompts], batch_tokens):
        halving(score, group)
    return scores


def _begin(model: Model, rows: Sequence[Sequence[int]]) -> _Begun:
    batch = model.batch(rows)
    with told([len(row) for row in rows], batch["input_ids"]):
        out = model.anatomy.decoder(**batch, use_cache=True)
    first = model.logits(out.last_hidden_state[:, -1]).log_softmax(-1)
    return _Begun(out.cache, batch["input_ids"], batch["attention_mask"], first)


def _score(model: Model, chosen: Sequence[_Choice], begun: _Begun) -> Float[Tensor, " choices"]:
    rows = torch.tensor([c.row for c in chosen], device=model.device)
    batch = model.batch([c.ids for c in chosen], pad="right")
    ids, real = batch["input_ids"], batch["attention_mask"]
    total = begun.first[rows].gather(1, ids[:, :1]).squeeze(1)
    if ids.shape[1] == 1:
        return total
    shared = copy.deepcopy(begun.cache)
    shared.batch_select_indices(rows)
    mask = begun.mask[rows]
    lengths = mask.sum(1)
    with told(lengths, torch.cat([begun.ids[rows], ids[:, :-1]], 1)):
        states = model.anatomy.decoder(
            input_ids=ids[:, :-1],
            attention_mask=torch.cat([mask, real[:, :-1]], dim=1),
            position_ids=lengths.unsqueeze(1) + batch["position_ids"][:, :-1],
            use_cache=True,
            cache=shared,
        ).last_hidden_state
    where = real[:, 1:].bool()
    later = -cross_entropy(model.logits(states[where]), ids[:, 1:][where], reduction="none")
    return total.index_add(0, where.nonzero()[:, 0], later)
