"""The slow, obvious way to steer tiny llama: one row alone, unpadded, uncached, edited by index.

Shares no code with `steer.hooks`: plain torch hooks on modules named by hand, token indices counted
by hand, one token edited at a time.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import jaxtyping
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

Rule = str | tuple[Any, ...]
"""Which tokens: a name, or a name and what belongs to it: `("and", "prompt", ("after", 7, 8))`."""


@dataclass(frozen=True)
class Step:
    """One intervention in plain words.

    `edit` is `add`, `keep` (add, keep the norm), `replace`, `ablate`, `clamp` (with `low` and
    `high`), `rotate` (with `degrees`) or `affine` (with `read` and `write`; `vector` is the bias).
    """

    kind: str
    layer: int
    edit: str
    vector: Tensor
    span: Rule
    strength: float
    more: dict[str, Any] = field(default_factory=dict)


def chosen(span: Rule, prompt: int, row: Sequence[int]) -> list[int]:
    """The indices that a span selects in a row, the first `prompt` tokens of it the prompt."""
    return [i for i in range(len(row)) if _is_chosen(span, i, prompt, row)]


def _is_chosen(span: Rule, i: int, prompt: int, row: Sequence[int]) -> bool:
    name, *args = (span,) if isinstance(span, str) else span
    if name in ("and", "or", "not"):
        inner = [_is_chosen(arg, i, prompt, row) for arg in args]
        return {"and": all(inner), "or": any(inner), "not": not inner[0]}[name]
    if name == "first":
        return prompt <= i < prompt + args[0]
    if name == "positions":
        start, stop = args
        if start is not None and i < (start if start >= 0 else max(0, prompt + start)):
            return False
        return stop is None or i < (stop if stop >= 0 else max(0, prompt + stop))
    if name == "any_of":
        return row[i] in args
    if name == "after":
        return any(list(row[j : j + len(args)]) == args for j in range(i - len(args) + 1))
    return {
        "all": True,
        "prompt": i < prompt,
        "generated": i >= prompt,
        "last": i == prompt - 1,
    }[name]


def edited(state: Tensor, step: Step) -> Tensor:
    """One token's state after one edit."""
    v, s = step.vector, step.strength
    if step.edit == "replace":
        return state + s * (v - state)
    if step.edit == "affine":
        change = v.clone()
        for read, write in zip(step.more["read"], step.more["write"], strict=True):
            change += torch.dot(read, state) * write
        return state + s * change
    if step.edit in ("add", "keep"):
        moved = state + s * v
        return moved * (state.norm() / moved.norm()) if step.edit == "keep" else moved
    unit = v / v.norm()
    along = torch.dot(state, unit)
    if step.edit == "ablate":
        return state - s * along * unit
    if step.edit == "clamp":
        low, high = step.more["low"], step.more["high"]
        wanted = float(along)
        wanted = wanted if low is None else max(wanted, low)
        wanted = wanted if high is None else min(wanted, high)
        return state + s * (wanted - along) * unit
    assert step.edit == "rotate"
    across = (state - along * unit) / (state - along * unit).norm()
    angle = math.acos(max(-1.0, min(1.0, float(along / state.norm()))))
    angle = min(max(angle - s * math.radians(step.more["degrees"]), 0.0), math.pi)
    return state.norm() * (math.cos(angle) * unit + math.sin(angle) * across)


def _place(decoder: PreTrainedModel, step: Step) -> nn.Module:
    layer = decoder.layers[step.layer]
    return {
        "final": decoder.norm,
        "attn_out": layer.self_attn,
        "mlp_out": layer.mlp,
        "heads": layer.self_attn.o_proj,
        "resid_pre": layer,
        "resid_post": layer,
    }[step.kind]


def _change(states: Tensor, prompt: int, step: Step, row: Sequence[int]) -> Tensor:
    rows = list(states[0])
    for i in chosen(step.span, prompt, row):
        rows[i] = edited(rows[i], step)
    return torch.stack(rows).unsqueeze(0)


def _hook(decoder: PreTrainedModel, step: Step, prompt: int, row: Sequence[int]) -> Any:
    def before(_: nn.Module, args: tuple[Any, ...]) -> Any:
        return (_change(args[0], prompt, step, row), *args[1:])

    def after(_: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_change(output[0], prompt, step, row), *output[1:])
        return _change(output, prompt, step, row)

    module = _place(decoder, step)
    if step.kind in ("resid_pre", "heads"):
        return module.register_forward_pre_hook(before)
    return module.register_forward_hook(after)


@torch.no_grad()
def states(
    decoder: PreTrainedModel,
    embedded: Tensor,
    prompt: int,
    steps: Sequence[Step],
    row: Sequence[int] | None = None,
) -> Tensor:
    """`[tokens, d_model]` after the last norm, of one row that is embedded already.

    The tokens in `row` are needed only where a span looks at them.
    """
    row = [-1] * embedded.shape[1] if row is None else row
    for step in steps:
        if step.kind == "embed":
            embedded = _change(embedded, prompt, step, row)
    with ExitStack() as stack:
        for step in (step for step in steps if step.kind != "embed"):
            stack.callback(_hook(decoder, step, prompt, row).remove)
        out: Tensor = decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state[0]
    return out


def logits(hf: PreTrainedModel, row: Sequence[int], prompt: int, steps: Sequence[Step]) -> Tensor:
    """`[tokens, vocab]` of one row whose first `prompt` tokens are the prompt."""
    embedded = hf.model.embed_tokens(torch.tensor([list(row)]))
    out: Tensor = hf.lm_head(states(hf.model, embedded, prompt, steps, row)).detach()
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
