"""The slow, obvious way to steer tiny llama: one row alone, unpadded, uncached, edited by index.

Shares no code with `steer.hooks`: plain torch hooks on modules named by hand, token indices counted
by hand, one token edited at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jaxtyping
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Step:
    """One intervention in plain words; `edit` is `add`, `keep` (add, keep the norm) or `ablate`."""

    kind: str
    layer: int
    edit: str
    vector: Tensor
    span: str
    strength: float


def chosen(span: str, prompt: int, total: int) -> list[int]:
    """The indices that a span selects in a row of `total` tokens, `prompt` of them prompt."""
    ranges = {
        "all": range(total),
        "prompt": range(prompt),
        "generated": range(prompt, total),
        "last": range(prompt - 1, prompt),
    }
    return list(ranges[span])


def edited(state: Tensor, step: Step) -> Tensor:
    """One token's state after one edit."""
    if step.edit == "ablate":
        unit = step.vector / step.vector.norm()
        return state - step.strength * torch.dot(state, unit) * unit
    moved = state + step.strength * step.vector
    return moved * (state.norm() / moved.norm()) if step.edit == "keep" else moved


def _place(decoder: PreTrainedModel, step: Step) -> nn.Module:
    layer = decoder.layers[step.layer]
    return {
        "final": decoder.norm,
        "attn_out": layer.self_attn,
        "mlp_out": layer.mlp,
        "resid_pre": layer,
        "resid_post": layer,
    }[step.kind]


def _change(states: Tensor, prompt: int, step: Step) -> Tensor:
    rows = list(states[0])
    for i in chosen(step.span, prompt, len(rows)):
        rows[i] = edited(rows[i], step)
    return torch.stack(rows).unsqueeze(0)


def _hook(decoder: PreTrainedModel, step: Step, prompt: int) -> Any:
    def before(_: nn.Module, args: tuple[Any, ...]) -> Any:
        return (_change(args[0], prompt, step), *args[1:])

    def after(_: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_change(output[0], prompt, step), *output[1:])
        return _change(output, prompt, step)

    module = _place(decoder, step)
    if step.kind == "resid_pre":
        return module.register_forward_pre_hook(before)
    return module.register_forward_hook(after)


@torch.no_grad()
def states(
    decoder: PreTrainedModel, embedded: Tensor, prompt: int, steps: Sequence[Step]
) -> Tensor:
    """`[tokens, d_model]` after the last norm, of one row that is embedded already."""
    for step in steps:
        if step.kind == "embed":
            embedded = _change(embedded, prompt, step)
    with ExitStack() as stack:
        for step in (step for step in steps if step.kind != "embed"):
            stack.callback(_hook(decoder, step, prompt).remove)
        out: Tensor = decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state[0]
    return out


def logits(hf: PreTrainedModel, row: Sequence[int], prompt: int, steps: Sequence[Step]) -> Tensor:
    """`[tokens, vocab]` of one row whose first `prompt` tokens are the prompt."""
    embedded = hf.model.embed_tokens(torch.tensor([list(row)]))
    out: Tensor = hf.lm_head(states(hf.model, embedded, prompt, steps)).detach()
    return out


def greedy(hf: PreTrainedModel, row: Sequence[int], new: int, steps: Sequence[Step]) -> list[int]:
    """The `new` most likely tokens after a prompt, one full pass a token."""
    ids = list(row)
    for _ in range(new):
        ids.append(int(logits(hf, ids, len(row), steps)[-1].argmax()))
    return ids[len(row) :]


@contextmanager
def unchecked() -> Iterator[None]:
    """Let arguments of a wrong type reach the code, as they do outside of the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
