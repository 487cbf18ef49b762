"""Scores choices: the summed log-probability of each after its prompt.

The choices of a prompt share its KV cache, the LM head runs only where a token is scored, and
batches are filled by token count. Attached plans see the prompt as prompt and the choice as
generated, as they would in decoding.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from steer.hooks import Model, by_tokens


class _Choice(NamedTuple):
    row: int  # of its prompt, in the batch of prompts
    owner: int  # index of its prompt
    number: int  # among the prompt's choices
    ids: list[int]


@torch.no_grad()
def score_choices(
    model: Model,
    prompts: Sequence[list[int]],
    choices: Sequence[Sequence[list[int]]],
    *,
    batch_tokens: int = 1024,
) -> list[list[float]]:
    """`sum_t log p(choice_t | prompt, choice_<t)` of every choice.

    Args:
        model: the model, steered or not.
        prompts: token ids of each prompt.
        choices: for each prompt, the token ids of its choices, at least one token each.
        batch_tokens: tokens in a batch, padding included.

    Returns:
        For each prompt the scores of its choices, in order.
    """
    scores = [[0.0] * len(group) for group in choices]
    for group in by_tokens([len(p) for p in prompts], batch_tokens):
        batch = model.batch([prompts[i] for i in group])
        out = model.anatomy.decoder(**batch, use_cache=True)
        first = model.logits(out.last_hidden_state[:, -1]).log_softmax(-1)
        waiting = [
            _Choice(row, i, n, ids)
            for row, i in enumerate(group)
            for n, ids in enumerate(choices[i])
        ]
        # A cached token costs memory, if no work: the copies of long prompts must not pile up.
        weights = [len(c.ids) + len(prompts[c.owner]) // 8 for c in waiting]
        for some in by_tokens(weights, batch_tokens):
            chosen = [waiting[i] for i in some]
            values = _score(model, chosen, out.cache, batch["attention_mask"], first)
            for choice, value in zip(chosen, values.tolist(), strict=True):
                scores[choice.owner][choice.number] = value
    return scores


def _score(
    model: Model,
    chosen: Sequence[_Choice],
    cache: object,
    mask: Int[Tensor, "prompts seq"],
    first: Float[Tensor, "prompts vocab"],
) -> Float[Tensor, " choices"]:
    rows = torch.tensor([c.row for c in chosen], device=model.device)
    batch = model.batch([c.ids for c in chosen], pad="right")
    ids, real = batch["input_ids"], batch["attention_mask"]
    total = first[rows].gather(1, ids[:, :1]).squeeze(1)
    if ids.shape[1] == 1:
        return total
    shared = copy.deepcopy(cache)
    shared.batch_select_indices(rows)  # type: ignore[attr-defined]
    lengths = mask.sum(1)[rows].unsqueeze(1)
    states = model.anatomy.decoder(
        input_ids=ids[:, :-1],
        attention_mask=torch.cat([mask[rows], real[:, :-1]], dim=1),
        position_ids=lengths + batch["position_ids"][:, :-1],
        use_cache=True,
        cache=shared,
    ).last_hidden_state
    where = real[:, 1:].bool()
    later = -cross_entropy(model.logits(states[where]), ids[:, 1:][where], reduction="none")
    return total.index_add(0, where.nonzero()[:, 0], later)
