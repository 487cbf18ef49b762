"""The text that many prompts begin with, run once and kept as a KV cache."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from steer.hooks import Model, Span, prompts, spans_now

LEAST = 16
"""Fewer tokens than this are quicker run again than copied."""

_ATTENTION = {"full_attention", "sliding_attention"}


class Primer(NamedTuple):
    """Tokens that prompts begin with, and what the model as it is steered just now made of them."""

    ids: list[int]
    cache: Any

    def spread(self, rows: int) -> Any:
        """A cache of its own for so many rows."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return cache


@torch.no_grad()
def primed(model: Model, ids: Sequence[int], longest: int) -> Primer | None:
    """Run what all prompts begin with; None where sharing it would not pay or not be exact.

    Args:
        model: the model, steered as it will be for the prompts.
        ids: the tokens that all prompts begin with.
        longest: tokens of the longest prompt with its continuation.
    """
    if len(ids) < LEAST or not sees_all(model, longest):
        return None
    if any(map(_counts_back, spans_now(model.hf))):
        return None
    batch = model.batch([list(ids)])
    with prompts([len(ids) + 1], batch["input_ids"]):  # the prompt does not end here
        cache = model.anatomy.decoder(**batch, use_cache=True).cache
    return Primer(list(ids), cache) if hasattr(cache, "batch_repeat_interleave") else None


def _counts_back(span: Span) -> bool:
    """Whether it depends on the length of a prompt which of its first tokens are selected."""
    places = (part.args for part in span.parts if part.name == "positions")
    return any(end is not None and end < 0 for ends in places for end in ends)


def sees_all(model: Model, longest: int) -> bool:
    """Whether every layer attends to every token of that many.

    Padding stands between a shared text and what follows; a window or a recurrent state counts it.
    """
    config = model.hf.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if getattr(model.hf, "_is_stateful", False) or not kinds <= _ATTENTION:
        return False
    return not window or longest <= window  # 0: none
