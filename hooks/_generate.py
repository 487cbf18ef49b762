"""Lets `generate` tell attached plans where its prompts end and what in them is padding."""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedModel

from ._instead import instead
from ._model import Model
from ._prompts import Prompts, known, tell, told


@contextmanager
def generate_tells_prompts(model: Model) -> Iterator[None]:
    """Wrap `generate` of this one model object, and what it prepares each pass with."""
    hf = model.hf
    if not hasattr(hf, "generate"):  # a model without an LM head
        yield
        return
    with ExitStack() as stack:
        # Either may be the class's own, or the wrapper of an outer block.
        prepare = _telling_ids(hf, hf.prepare_inputs_for_generation)
        stack.enter_context(instead(hf, "prepare_inputs_for_generation", prepare))
        stack.enter_context(instead(hf, "generate", _telling_prompts(hf, hf.generate)))
        yield


def _telling_prompts(hf: PreTrainedModel, inner: Any) -> Any:
    signature = inspect.signature(inner)

    @wraps(inner)
    def generate(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        real = _real(hf, given)
        embeds = None if hf.config.is_encoder_decoder else given.get("inputs_embeds")
        width = 0 if embeds is None else embeds.shape[1]
        whole = real.device.type == "cpu" and bool(real.all())  # a GPU would have to be waited for
        prompts = Prompts(real.sum(1), real, embedded=width, whole=whole, owner=hf, announced=False)
        with known(prompts):
            return inner(*args, **kwargs)

    return generate


def _telling_ids(hf: PreTrainedModel, inner: Any) -> Any:
    """Announce each pass of `generate`, which prepares it just before, with its tokens."""

    @wraps(inner)
    def prepare(input_ids: Any, *args: Any, **kwargs: Any) -> Any:
        prompts = told()
        if prompts is not None and prompts.owner is hf and prompts.real is not None:
            seen = input_ids.shape[1] + prompts.embedded
            # Fewer than the prompt: a chunk of it, whose place only the cache knows.
            total = seen if seen >= prompts.real.shape[1] else None
            tell(replace(prompts, ids=input_ids, total=total, announced=True))
        return inner(input_ids, *args, **kwargs)

    return prepare


def _real(hf: PreTrainedModel, given: dict[str, Any]) -> Bool[Tensor, "prompts width"]:
    """True where a prompt has a token and not padding, told as `generate` itself tells it."""
    if hf.config.is_encoder_decoder:
        return _real_of_decoder(hf, given)
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


def _real_of_decoder(hf: PreTrainedModel, given: dict[str, Any]) -> Bool[Tensor, "prompts width"]:
    """The same for an encoder-decoder, whose start token may be the one that pads."""
    ids: Tensor | None = given.get("decoder_input_ids")
    if ids is None:
        return torch.ones(1, 1, dtype=torch.bool)
    mask: Tensor | None = given.get("decoder_attention_mask")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    start = _setting(hf, given, "decoder_start_token_id")
    start = _setting(hf, given, "bos_token_id") if start is None else start
    if bool((ids[:, 0] != start).all()):  # generate puts it in front
        real = torch.cat([torch.ones_like(real[:, :1]), real], dim=1)
    return real


def _setting(hf: PreTrainedModel, given: dict[str, Any], name: str) -> Any:
    """The argument's value, or the given configuration's, or the model's."""
    if name in given:
        return given[name]
    value = getattr(given.get("generation_config"), name, None)
    return getattr(hf.generation_config, name) if value is None else value
