"""Finds the blocks of one decoder layer, by what their modules are; knows no model.

The words are parts of class names, which transformers keeps regular across architectures.
"""

import inspect
from collections.abc import Iterator

from torch import nn

_MLPS = ("MLP", "FeedForward", "MoE", "Moe", "MixtureOfExperts", "DenseAct", "DenseGatedAct")
_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo", "o")


def attention(layer: nn.Module) -> nn.Module | None:
    """The self-attention block, as it is called by the layer."""
    found = _child(layer, ("Attention",), but=("Norm",))
    if found is None:  # such as Qwen3-Next's gated delta net
        found = getattr(layer, "linear_attn", None)
    # T5 wraps each block together with its norm and the sum; what is inside adds to the stream.
    return _child(found, ("Attention",)) or found if _is_sum(found) else found


def attn_out(layer: nn.Module) -> nn.Module | None:
    """The module whose output the attention block adds to the residual stream."""
    # Gemma, OLMo 2 and GLM 4 normalise the block's output before adding it.
    after: nn.Module | None = getattr(layer, "post_self_attn_layernorm", None)
    if after is None and _after_mlp(layer) is not None:
        after = getattr(layer, "post_attention_layernorm", None)
    return after if after is not None else _before_sum(attention(layer))


def mlp(layer: nn.Module) -> nn.Module | None:
    """The MLP block or the mixture of experts, as it is called by the layer."""
    found = _child(layer, _MLPS, but=("Attention", "Norm"))
    if found is None:
        found = _child(layer, ("LayerFF",))
    return _child(found, _MLPS) or found if _is_sum(found) else found


def mlp_out(layer: nn.Module) -> nn.Module | None:
    """The module whose output the MLP block adds to the residual stream."""
    after = _after_mlp(layer)
    if after is not None:
        return after
    block = mlp(layer)
    return _before_sum(block) if block is not None else _last_linear(layer)  # OPT, BART


def out_proj(layer: nn.Module) -> nn.Module | None:
    """The attention's output projection, whose input holds the heads side by side."""
    block = attention(layer)
    if block is None:
        return None
    linears = {name.split(".")[-1]: module for name, module in _linears(block)}
    named = (linears[name] for name in _OUT if name in linears)
    return next(named, _last_linear(block))


def router(layer: nn.Module) -> nn.Module | None:
    """The router of a mixture of experts: it stands beside the experts in their block."""
    for block in layer.modules():
        children = dict(block.named_children())
        if "experts" in children:
            return children.get("router", children.get("gate"))
    return None


def described(module: nn.Module) -> str:
    """Its children, as an error shows them."""
    return ", ".join(f"{n} ({type(c).__name__})" for n, c in module.named_children()) or "nothing"


def _after_mlp(layer: nn.Module) -> nn.Module | None:
    names = ("post_feedforward_layernorm", "post_mlp_layernorm")
    return next((getattr(layer, name) for name in names if hasattr(layer, name)), None)


def _child(
    module: nn.Module | None, words: tuple[str, ...], but: tuple[str, ...] = ()
) -> nn.Module | None:
    for child in _children(module):
        name = type(child).__name__  # such as Qwen3MoeAttention, which is no MLP
        if any(word in name for word in words) and not any(word in name for word in but):
            return child
    return None


def _children(module: nn.Module | None) -> Iterator[nn.Module]:
    """The children, those in a list (T5) one by one."""
    for child in module.children() if module is not None else ():
        yield from child if isinstance(child, nn.ModuleList) else (child,)


def _is_sum(block: nn.Module | None) -> bool:
    return block is not None and "Layer" in type(block).__name__


def adds_residual(block: nn.Module) -> bool:
    """Whether a block is given the residual stream to add its output to (BLOOM, MPT)."""
    return "residual" in inspect.signature(block.forward).parameters


def _before_sum(block: nn.Module | None) -> nn.Module | None:
    """The block, or its last projection if it adds to the residual stream itself."""
    return _last_linear(block) if block is not None and adds_residual(block) else block


def _linears(module: nn.Module) -> list[tuple[str, nn.Module]]:
    kinds = ("Linear", "Conv1D")
    named = module.named_modules()
    return [(n, m) for n, m in named if n and any(kind in type(m).__name__ for kind in kinds)]


def _last_linear(module: nn.Module) -> nn.Module | None:
    own = [m for n, m in _linears(module) if "." not in n]
    return own[-1] if own else None
