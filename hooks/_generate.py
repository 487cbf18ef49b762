"""Lets `generate` tell attached plans where its prompts end and what in them is padding."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedModel

from ._model import Model
from ._prompts import Prompts, known


@contextmanager
def generate_tells_prompts(model: Model) -> Iterator[None]:
    """Wrap `generate` of this one model object."""
    hf = model.hf
    inner = getattr(hf, "generate", None)  # the class's, or the wrapper of an outer block
    if inner is None:  # a model without an LM head
        yield
        return
    outer = hf.__dict__.get("generate")
    signature = inspect.signature(inner)

    @wraps(inner)
    def generate(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        real = _real(hf, given)
        with known(Prompts(real.sum(1), real)):
            return inner(*args, **kwargs)

    hf.__dict__["generate"] = generate
    try:
        yield
    finally:
        if outer is None:
            del hf.__dict__["generate"]
        else:
            hf.__dict__["generate"] = outer


def _real(hf: PreTrainedModel, given: dict[str, Any]) -> Bool[Tensor, "prompts width"]:
    """True where a prompt has a token and not padding, told as `generate` itself tells it."""
    ids: Tensor | None = given.get("inputs")
    ids = given.get("input_ids") if ids is None else ids
    mask: Tensor | None = given.get("attention_mask")
    if mask is not None and mask.dim() == 2:
        return mask.bool()
    embeds = given.get("inputs_embeds")
    if embeds is not None:
        return torch.ones(embeds.shape[:2], dtype=torch.bool)
    if ids is None:  # it begins with the beginning-of-sequence token
        return torch.ones(1, 1, dtype=torch.bool)
    pad, eos = (_setting(hf, given, f"{name}_token_id") for name in ("pad", "eos"))
    ends = eos if isinstance(eos, list) else [eos]
    if pad is None or pad in ends:
        return torch.ones(ids.shape, dtype=torch.bool)
    return ids.ne(pad)


def _setting(hf: PreTrainedModel, given: dict[str, Any], name: str) -> Any:
    """The argument's value, or the given configuration's, or the model's."""
    if name in given:
        return given[name]
    value = getattr(given.get("generation_config"), name, None)
    return getattr(hf.generation_config, name) if value is None else value
