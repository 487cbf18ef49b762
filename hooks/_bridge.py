"""TransformerLens: the sites of a `TransformerBridge`, and what its own generation leaves unsaid.

A bridge runs a transformers model in which each block is replaced, in place, by a component that
holds the original and passes its inputs and outputs through hook points. Edits go before those, so
that TransformerLens' own hooks and caches see the edited states.
"""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from . import _parts
from ._anatomy import Anatomy
from ._errors import ModelError
from ._instead import instead
from ._prompts import Prompts, known
from ._sites import Site


def is_bridge(model: Any) -> bool:
    """Whether a model is a `TransformerBridge`."""
    return type(model).__module__.startswith("transformer_lens.model_bridge")


def is_bridged(anatomy: Anatomy) -> bool:
    """Whether the layers found are components of a bridge."""
    return hasattr(anatomy.layers[0], "original_component")


class BridgeAnatomy(Anatomy):
    """The sites of a model whose blocks are components of a bridge."""

    @classmethod
    def around(cls, found: Anatomy) -> "BridgeAnatomy":
        """Look inside the components, whose own children include the whole layer."""
        insides: list[Any] = [block.original_component for block in found.layers]
        layers = nn.ModuleList(insides)
        norm = getattr(found.norm, "hook_out", found.norm)
        embedding = getattr(found.embedding, "original_component", found.embedding)
        bridged = cls(found.decoder, layers, norm, embedding, found.d_model, found.places)
        object.__setattr__(bridged, "_blocks", found.layers)
        return bridged

    def module(self, site: Site) -> nn.Module:
        """The module whose output (input, for `resid_pre` and `heads`) is the tensor at a site."""
        if site.kind == "resid_pre" and site.layer is not None:
            block: nn.Module = self._blocks[site.layer]  # type: ignore[attr-defined]
            return block
        part = super().module(site)
        return getattr(part, "hook_out", part) if site.kind in ("attn_out", "mlp_out") else part


@contextmanager
def bridged(bridge: Any, anatomy: Anatomy) -> Iterator[None]:
    """Let a bridge's own generation say where its prompts end, and use its cache.

    Raises:
        ModelError: if the weights have been folded, so that its states are others.
    """
    if getattr(bridge, "_weights_processed", False):
        raise ModelError(
            "attach: the weights of this TransformerBridge are folded and centred, and its states "
            "are no longer the model's; leave out enable_compatibility_mode(), or call it with "
            "no_processing=True"
        )
    with ExitStack() as stack:
        for layer in anatomy.layers:
            block = _parts.attention(layer)
            if block is not None:
                handle = block.register_forward_pre_hook(_renamed, with_kwargs=True)
                stack.callback(handle.remove)
        for name in ("generate", "generate_stream"):
            told = _telling_prompts(bridge, getattr(bridge, name))
            stack.enter_context(instead(bridge, name, told))
        yield


def _renamed(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # TransformerLens 4.3 reads `past_key_values`, transformers 5.24 gives `cache`: without this a
    # cached pass on a bridge sees no token before its own, steered or not.
    if kwargs.get("cache") is not None and kwargs.get("past_key_values") is None:
        return args, kwargs | {"past_key_values": kwargs["cache"]}
    return None


def _telling_prompts(bridge: Any, inner: Any) -> Any:
    signature = inspect.signature(inner)

    def told(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Prompts:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        real = _real(bridge, given.arguments)
        return Prompts(real.sum(1), real)

    if inspect.isgeneratorfunction(inspect.unwrap(inner)):

        @wraps(inner)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            prompts, chunks = told(args, kwargs), inner(*args, **kwargs)
            while True:
                with known(prompts):  # and not while the caller has the chunk
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk

        return stream

    @wraps(inner)
    def generate(*args: Any, **kwargs: Any) -> Any:
        with known(told(args, kwargs)):
            return inner(*args, **kwargs)

    return generate


def _real(bridge: Any, given: dict[str, Any]) -> Bool[Tensor, "prompts width"]:
    """True where a prompt has a token and not padding, told as the bridge itself tells it."""
    prompts, mask = given["input"], given.get("attention_mask")
    side = given.get("padding_side")
    if isinstance(prompts, Tensor):
        ids = prompts if prompts.dim() > 1 else prompts[None]
        if isinstance(mask, Tensor):
            return mask.bool()
        if side is None or prompts.is_floating_point():
            return torch.ones(ids.shape[:2], dtype=torch.bool)
    else:
        many = isinstance(prompts, list) and len(prompts) > 1
        side = "left" if many else None
        bos = given.get("prepend_bos")
        ids = bridge.to_tokens(prompts, prepend_bos=bos, padding_side=side, truncate=False)
        if not many:
            return torch.ones(ids.shape, dtype=torch.bool)
    from transformer_lens import utilities  # there, since a bridge is

    starts = given.get("prepend_bos") if isinstance(prompts, Tensor) else None
    starts = bridge.cfg.default_prepend_bos if starts is None else starts
    real: Tensor = utilities.get_attention_mask(bridge.tokenizer, ids, starts, padding_side=side)
    return real.bool()
