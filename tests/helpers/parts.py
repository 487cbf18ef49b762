"""Where the parts of each family in `families` are, by hand, and plain torch hooks on them.

Written from the sources of transformers; shares no code with `steer.hooks`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import families
from steer.hooks import Model

D, LAYERS, HEADS, HEAD_DIM, EXPERTS = 32, 4, 4, 8, 4


@dataclass(frozen=True)
class Parts:
    """Paths: the first three in the model, the others in a layer; `routed` layers have a router."""

    layers: str = "model.layers"
    final: str | None = "model.norm"
    embed: str = "model.embed_tokens"
    attn_out: str = "self_attn"
    mlp_out: str = "mlp"
    heads: str = "self_attn.o_proj"
    router: str | None = None
    routed: tuple[int, ...] = ()


def _gpt(
    attn_out: str,
    heads: str,
    mlp_out: str = "mlp",
    embed: str = "wte",
    layers: str = "h",
    final: str = "ln_f",
) -> Parts:
    names = (f"transformer.{name}" for name in (layers, final, embed))
    return Parts(*names, attn_out, mlp_out, heads)


_LLAMA = Parts()
_MOE = Parts(router="mlp.gate", routed=(0, 1, 2, 3))
_AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")
_POST_NORM = Parts(attn_out=_AFTER[0], mlp_out=_AFTER[1])
_FALCON = _gpt("self_attention", "self_attention.dense", embed="word_embeddings")


def _inside(name: str, attn_out: str = "self_attn", mlp_out: str = "mlp") -> Parts:
    names = (f"model.{name}.{part}" for part in ("layers", "norm", "embed_tokens"))
    return Parts(*names, attn_out, mlp_out)


PARTS: dict[str, Parts] = {
    "bart": Parts(
        "model.decoder.layers",
        None,  # each layer ends with its own norm; none follows
        "model.decoder.embed_tokens",
        mlp_out="fc2",
        heads="self_attn.out_proj",
    ),
    "bloom": _gpt(  # attention and MLP add the residual themselves
        "self_attention.dense",
        "self_attention.dense",
        "mlp.dense_4h_to_h",
        embed="word_embeddings",
    ),
    "cohere": _LLAMA,
    "deepseek_v3": Parts(router="mlp.gate", routed=(1, 2, 3)),
    "falcon": _FALCON,
    "falcon_new": _FALCON,
    "falcon_sequential": _FALCON,
    "gemma2": _POST_NORM,
    "gemma3": _POST_NORM,
    "gemma3_vlm": _inside("language_model", *_AFTER),
    "gpt2": _gpt("attn", "attn.c_proj"),
    "gpt_neox": Parts(
        "gpt_neox.layers",
        "gpt_neox.final_layer_norm",
        "gpt_neox.embed_in",
        "attention",
        "mlp",
        "attention.dense",
    ),
    "gpt_oss": Parts(router="mlp.router", routed=(0, 1, 2, 3)),
    "gptj": _gpt("attn", "attn.out_proj"),
    "granite": _LLAMA,
    "llama": _LLAMA,
    "llama4": Parts(mlp_out="feed_forward", router="feed_forward.router", routed=(1, 3)),
    "llava": _inside("language_model"),
    "mistral": _LLAMA,
    "mixtral": _MOE,
    "mpt": _gpt("attn", "attn.out_proj", "ffn.down_proj", layers="blocks", final="norm_f"),
    "olmo2": _POST_NORM,
    "olmoe": _MOE,
    "opt": Parts(
        "model.decoder.layers",
        "model.decoder.final_layer_norm",
        "model.decoder.embed_tokens",
        mlp_out="fc2",
        heads="self_attn.out_proj",
    ),
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen2_5_vl": _inside("language_model"),
    "qwen2_moe": _MOE,
    "qwen3": _LLAMA,
    "qwen3_moe": _MOE,
    "smolvlm": _inside("text_model"),
    "stablelm": _LLAMA,
    "t5": Parts(
        "decoder.block",
        "decoder.final_layer_norm",
        "decoder.embed_tokens",
        "layer.0.SelfAttention",
        "layer.2.DenseReluDense",
        "layer.0.SelfAttention.o",
    ),
}


@cache
def model(family: str) -> Model:
    """One model for all tests that leave it as it is."""
    return Model(families.network(family))


def part(hf: PreTrainedModel, family: str, kind: str, layer: int = 0) -> nn.Module | None:
    """The module of a kind of site, by the table."""
    parts = PARTS[family]
    if kind in ("embed", "final"):
        path = getattr(parts, kind)
        return None if path is None else hf.get_submodule(path)
    block = hf.get_submodule(f"{parts.layers}.{layer}")
    if kind in ("resid_pre", "resid_post"):
        return block
    if kind == "router" and layer not in parts.routed:
        return None
    return block.get_submodule(getattr(parts, kind))


def batch(family: str, rows: Sequence[Sequence[int]], pad: str = "left") -> dict[str, Tensor]:
    """The rows as what the decoder reads; encoders read the same padded tokens in every row."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for r, row in enumerate(rows):
        place = slice(width - len(row), None) if pad == "left" else slice(len(row))
        ids[r, place], mask[r, place] = torch.tensor(row), 1
    if family in families.ENCODER_DECODERS:
        encoded = torch.tensor([[20, 21, 22, 23, 0, 0]] * len(rows))
        return {
            "input_ids": encoded,
            "attention_mask": (encoded != 0).long(),
            "decoder_input_ids": ids,
            "decoder_attention_mask": mask,
        }
    inputs = {"input_ids": ids, "attention_mask": mask}
    if family not in ("bloom", "mpt"):  # they tell places by the mask
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
    return inputs


def real(inputs: dict[str, Tensor]) -> Tensor:
    """True where a token is no padding."""
    mask = inputs.get("decoder_attention_mask", inputs.get("attention_mask"))
    assert mask is not None
    return mask.bool()


@torch.no_grad()
def logits(hf: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """`[batch, tokens, vocab]`, uncached."""
    out: Tensor = hf(**inputs, use_cache=False).logits
    return out


def states_of(output: Any) -> Tensor:
    """The states in what a module returned."""
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


@contextmanager
def changing(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put `change` of its output in place of it."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        new = change(states_of(output))
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def changing_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put `change` of its first argument in place of it."""
    handle = module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def adding(vector: Tensor, chosen: Tensor) -> Callable[[Tensor], Tensor]:
    """Adds the vector where `chosen`, `Bool[Tensor, "batch seq"]`, is True."""

    def change(states: Tensor) -> Tensor:
        new = states.clone().reshape(*chosen.shape, -1)
        new[chosen] = new[chosen] + vector
        return new.reshape(states.shape)

    return change


@contextmanager
def reading(modules: Sequence[nn.Module]) -> Iterator[list[list[Tensor]]]:
    """The states that each module gave, one pass after the other."""
    seen: list[list[Tensor]] = [[] for _ in modules]
    handles = [
        module.register_forward_hook(lambda _, __, out, to=to: to.append(states_of(out).clone()))
        for module, to in zip(modules, seen, strict=True)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def chosen(span: str, prompt: int, total: int) -> Tensor:
    """`[1, total]`, True where a span selects a token of one unpadded row."""
    ranges = {
        "all": range(total),
        "prompt": range(prompt),
        "generated": range(prompt, total),
        "last": range(prompt - 1, prompt),
    }
    here = torch.zeros(1, total, dtype=torch.bool)
    here[0, list(ranges[span])] = True
    return here


def generated(
    hf: PreTrainedModel, inputs: dict[str, Tensor], new: int = 3, **options: Any
) -> tuple[Tensor, Tensor]:
    """The new tokens `[batch, new]` and the logits `[batch, new, vocab]` that chose them."""
    given = {name: value for name, value in inputs.items() if name != "position_ids"}
    out = hf.generate(
        **given,
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )
    return out.sequences[:, -new:], torch.stack(out.logits, dim=1)
