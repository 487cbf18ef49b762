"""Reads texts under several plans: their likelihood, and how far each plan moves the model."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from steer.hooks import Model, Plan, attach, by_tokens
from steer.hooks import prompts as told

from ._halving import halving

_SLICE = 128  # states whose logits are in memory at a time

WORST = 100.0
"""Nats of a token that the model holds for impossible, or for which it gives no number at all."""


class Compared(NamedTuple):
    """One text under one plan, summed over its tokens but the first.

    Attributes:
        tokens: how many were predicted.
        nll: negative log-likelihood, in nats.
        kl: KL divergence of the steered model's predictions from the unsteered one's, in nats,
            `sum_t KL(base_t || steered_t)`.
        agreed: at how many both think the same token likeliest.
    """

    tokens: int
    nll: float
    kl: float
    agreed: int


@torch.no_grad()
def compare(
    model: Model,
    texts: Sequence[list[int]],
    plans: Mapping[str, Plan | None],
    *,
    batch_tokens: int = 1024,
) -> dict[str, list[Compared]]:
    """Each text under each plan, beside the unsteered model.

    Args:
        model: the model, not steered.
        texts: token ids, at least two each.
        plans: what to compare, by name; None is the unsteered model itself.
        batch_tokens: tokens in a batch, padding included.
    """
    found: dict[str, list[Compared]] = {n: [Compared(0, 0.0, 0.0, 0)] * len(texts) for n in plans}

    def read(group: Sequence[int]) -> None:
        batch = model.batch([texts[i] for i in group], pad="right")
        base = model.anatomy.decoder(**batch, use_cache=False).last_hidden_state
        for name, plan in plans.items():
            if plan is None:
                states = base
            else:
                # A text is what the model might have said: its first token stands for the prompt.
                with attach(model, plan), told([1] * len(group), batch["input_ids"]):
                    states = model.anatomy.decoder(**batch, use_cache=False).last_hidden_state
            for i, row in zip(group, _compared(model, batch, base, states), strict=True):
                found[name][i] = row

    for group in by_tokens([len(text) for text in texts], batch_tokens):
        halving(read, group)
    return found


def _compared(
    model: Model,
    batch: Mapping[str, Tensor],
    base: Float[Tensor, "batch seq d_model"],
    states: Float[Tensor, "batch seq d_model"],
) -> list[Compared]:
    where = batch["attention_mask"][:, 1:].bool()
    target = batch["input_ids"][:, 1:][where]
    owner = where.nonzero()[:, 0]
    before, after = base[:, :-1][where], states[:, :-1][where]
    same = base is states
    sums = torch.zeros(len(where), 3, dtype=torch.float64, device=where.device)
    for start in range(0, len(target), _SLICE):
        some = slice(start, start + _SLICE)
        now = model.logits(after[some]).log_softmax(-1)
        then = now if same else model.logits(before[some]).log_softmax(-1)
        nll = _bounded(-now.gather(1, target[some].unsqueeze(1)).squeeze(1))
        kl = torch.zeros_like(nll) if same else _bounded((then.exp() * (then - now)).sum(-1))
        agreed = (now.argmax(-1) == then.argmax(-1)) & now.isfinite().any(-1)
        sums.index_add_(0, owner[some], torch.stack([nll, kl, agreed.to(nll.dtype)], 1).double())
    counts = where.sum(1).tolist()
    return [
        Compared(count, nll, max(kl, 0.0), round(agreed))
        for count, (nll, kl, agreed) in zip(counts, sums.tolist(), strict=True)
    ]


def _bounded(nats: Float[Tensor, " tokens"]) -> Float[Tensor, " tokens"]:
    """No more than `WORST`, which a model that has overflowed gets as well."""
    return nats.nan_to_num(nan=WORST, posinf=WORST).clamp(max=WORST)
