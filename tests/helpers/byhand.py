"""Plain, slow versions that tests compare with: one sequence at a time, no padding, no cache."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def embeddings(hf: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    with torch.no_grad():
        return hf.get_input_embeddings()(torch.tensor(ids))


def answer_log_p(hf: PreTrainedModel, embeds: Tensor, answer: Sequence[int]) -> Tensor:
    """The summed log-probability of the tokens that end a sequence of embeddings."""
    for module in hf.modules():
        if getattr(module, "rope_deltas", None) is not None:
            module.rope_deltas = None  # Qwen2.5-VL applies those of its last batch to embeddings
    logits = hf(inputs_embeds=embeds[None], use_cache=False).logits[0].float()
    start = len(embeds) - len(answer)
    terms = [logits[start + t - 1].log_softmax(-1)[token] for t, token in enumerate(answer)]
    return torch.stack(terms).sum()


@torch.no_grad()
def score(hf: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> float:
    return float(answer_log_p(hf, embeddings(hf, [*prompt, *answer]), answer))


def integrated(
    hf: PreTrainedModel,
    prompt: Sequence[int],
    answer: Sequence[int],
    absent: Tensor,
    *,
    fixed_answer: bool,
    steps: int,
) -> tuple[Tensor, float]:
    """Integrated gradients of `answer_log_p` for each token, and their completeness error."""
    embeds = embeddings(hf, [*prompt, *answer])
    start = embeds.clone()
    start[: len(prompt) if fixed_answer else None] = absent
    total = torch.zeros_like(embeds)
    for node, weight in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
        point = (start + float(1 + node) / 2 * (embeds - start)).requires_grad_()
        (gradient,) = torch.autograd.grad(answer_log_p(hf, point, answer), point)
        total += float(weight) / 2 * gradient
    scores = ((embeds - start) * total).sum(-1)
    with torch.no_grad():
        gain = answer_log_p(hf, embeds, answer) - answer_log_p(hf, start, answer)
    return scores, float(scores.sum() - gain)


@torch.no_grad()
def states(hf: PreTrainedModel, embeds: Tensor, layer: int) -> Tensor:
    """What leaves a layer (not the last: transformers norms that one), `(seq, d_model)`."""
    out = hf(inputs_embeds=embeds[None], use_cache=False, output_hidden_states=True)
    return out.hidden_states[layer + 1][0]


def adding(layer: nn.Module, vector: Tensor, start: int) -> AbstractContextManager[object]:
    """Add a vector to what leaves a layer, from position `start` on, as long as the block lasts."""

    def hook(_: nn.Module, __: object, out: Tensor | tuple[Tensor, ...]) -> object:
        hidden = (out if isinstance(out, Tensor) else out[0]).clone()
        hidden[:, start:] += vector
        return hidden if isinstance(out, Tensor) else (hidden, *out[1:])

    return layer.register_forward_hook(hook)


Steered = Callable[[int], AbstractContextManager[object]]
"""From the length of a prompt to a block in which the model is steered."""


def unsteered(_: int) -> AbstractContextManager[object]:
    return nullcontext()
