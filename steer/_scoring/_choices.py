"""Scores choices: the summed log-probability of each after its prompt.

What all prompts begin with is run once, and so is what the choices of a prompt begin with: a prompt
and its choices are one row, a tree in which each token attends to what comes before it in its own
text. The LM head runs only where a token is scored, and batches are filled by token count. Attached
plans see the prompt as prompt and the choice as generated, as they would in decoding.

Models that do not take such a row, and plans that look for a text in it, are scored one row a
choice (see `_rowwise`), with the same results.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from steer.hooks import Model, by_tokens, spans_now
from steer.hooks import prompts as told

from ._halving import halving
from ._primer import Primer, sees_all
from ._rowwise import score_rowwise
from ._tree import Tree

_SPARE = 0.05  # of a batch; a tree is long enough for smaller batches to run as quickly
_SLICE = 128  # states whose logits are in memory at a time

_PLACED = {"after", "masked"}  # spans that go by places in the row

_CHECKED: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@torch.no_grad()
def score_choices(
    model: Model,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
    *,
    primer: Primer | None = None,
    batch_tokens: int = 1024,
) -> list[list[float]]:
    """`sum_t log p(choice_t | prompt, choice_<t)` of every choice.

    Args:
        model: the model, steered or not.
        prompts: token ids of each prompt.
        choices: for each prompt, the token ids of its choices, at least one token each.
        primer: what all prompts begin with, from `primed` under the same plan.
        batch_tokens: tokens in a batch, padding included.

    Returns:
        For each prompt the scores of its choices, in order.
    """
    longest = max(len(p) + max(map(len, c)) for p, c in zip(prompts, choices, strict=True))
    if not takes_trees(model, longest):
        return score_rowwise(model, prompts, choices, batch_tokens=batch_tokens)
    return _score_trees(model, prompts, choices, primer, batch_tokens)


@torch.no_grad()
def takes_trees(model: Model, longest: int) -> bool:
    """Whether a row may hold a tree of such texts: found out once, by scoring some both ways."""
    parts = (part.name for span in spans_now(model.hf) for part in span.parts)
    if not sees_all(model, longest) or not _PLACED.isdisjoint(parts):
        return False
    if model.hf not in _CHECKED:
        _CHECKED[model.hf] = _agrees(model)
    return _CHECKED[model.hf]


@torch.no_grad()
def ready(model: Model) -> None:
    """Find out what there is to know of a model before any plan is attached to it."""
    model.logits(torch.zeros(1, model.d_model, dtype=model.dtype, device=model.device))
    takes_trees(model, 8)


def _agrees(model: Model) -> bool:
    prompt, choices = [5, 6, 7], [[8, 9, 10], [8, 11, 12, 13], [14, 15]]
    try:
        tree = _score_trees(model, [prompt], [choices], None, 1024)[0]
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError):
        return False  # such as attention kernels that build their own causal mask
    rows = score_rowwise(model, [prompt], [choices], batch_tokens=1024)[0]
    allowed = 1e-3 if model.dtype == torch.float32 else 0.2
    return bool(torch.tensor(tree).sub(torch.tensor(rows)).abs().max() < allowed)


def _score_trees(
    model: Model,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
    primer: Primer | None,
    batch_tokens: int,
) -> list[list[float]]:
    scores: list[list[float]] = [[] for _ in prompts]
    shared = 0 if primer is None else len(primer.ids)
    trees = [Tree.of(p[shared:], c) for p, c in zip(prompts, choices, strict=True)]

    def score(group: Sequence[int]) -> None:
        chosen = [trees[i] for i in group]
        found = _edges(model, chosen, [len(prompts[i]) for i in group], primer)
        for i, values in zip(group, found, strict=True):
            scores[i] = [float(values[path].sum()) for path in trees[i].paths]

    for group in by_tokens([len(tree.tokens) for tree in trees], batch_tokens, _SPARE):
        halving(score, group)
    return scores


def _edges(
    model: Model, trees: Sequence[Tree], lengths: Sequence[int], primer: Primer | None
) -> list[Float[Tensor, " edges"]]:
    """The log-probability of every edge of every tree."""
    known = 0 if primer is None else len(primer.ids)
    batch = model.batch([tree.tokens for tree in trees], pad="right")
    ids, width = batch["input_ids"], batch["input_ids"].shape[1]
    places = torch.zeros_like(ids, device="cpu")
    for row, tree in enumerate(trees):
        places[row, : len(tree.places)] = known + torch.tensor(tree.places)
    places = places.to(model.device)
    given = {"input_ids": ids, "position_ids": places, "use_cache": False}
    if primer is not None:
        given |= {"cache": primer.spread(len(trees)), "use_cache": True}
        ids = torch.cat([torch.tensor(primer.ids, device=ids.device).expand(len(ids), -1), ids], 1)
    mask = _mask(trees, width, known, model.dtype).to(model.device)
    with told(lengths, ids, places):
        states = model.anatomy.decoder(attention_mask=mask, **given).last_hidden_state
    nodes = [node for tree in trees for node, _ in tree.edges]
    counts = [len(tree.edges) for tree in trees]
    rows = torch.arange(len(trees)).repeat_interleave(torch.tensor(counts))
    # Each node is read once, however many choices go on from it.
    pairs = torch.stack([rows, torch.tensor(nodes)])
    read, of = torch.unique(pairs, dim=1, return_inverse=True)
    tokens = torch.tensor([token for tree in trees for _, token in tree.edges])
    picked = states[read[0].to(states.device), read[1].to(states.device)]
    return list(torch.split(_log_probabilities(model, picked, of, tokens).cpu(), counts))


def _mask(
    trees: Sequence[Tree], width: int, known: int, dtype: torch.dtype
) -> Float[Tensor, "trees 1 width total"]:
    mask = torch.zeros(len(trees), 1, width, known + width, dtype=dtype)
    for row, tree in enumerate(trees):
        seen = torch.from_numpy(tree.seen(width))
        mask[row, 0, :, known:].masked_fill_(~seen, torch.finfo(dtype).min)
    return mask


def _log_probabilities(
    model: Model,
    states: Float[Tensor, "nodes d_model"],
    of: Tensor,
    tokens: Tensor,
) -> Float[Tensor, " edges"]:
    """Of a token after a state each: `logit - logsumexp(logits)`, without a table of them all."""
    found = torch.empty(len(tokens), dtype=torch.float32, device=states.device)
    order = of.argsort()
    for start in range(0, len(states), _SLICE):
        logits = model.logits(states[start : start + _SLICE])
        total = logits.logsumexp(-1)
        some = order[(of[order] >= start) & (of[order] < start + _SLICE)]
        at, token = (of[some] - start).to(logits.device), tokens[some].to(logits.device)
        found[some.to(found.device)] = logits[at, token] - total[at]
    return found
