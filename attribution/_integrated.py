"""Which tokens make the preferred answer likelier: integrated gradients over input embeddings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from captum.attr import IntegratedGradients
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from steer.hooks import DataError, Model, by_tokens, track

Baseline = Literal["zero", "pad"]


@dataclass(frozen=True, eq=False)
class Scored:
    """An answer after its prompt, with the attribution of its log-probability to each token.

    Attributes:
        prompt: token ids.
        answer: token ids.
        scores: integrated gradients of `log p(answer | prompt)`, summed over the hidden dimension;
            zero for tokens that were held fixed.
        delta: completeness error, `sum(scores) - (F(input) - F(baseline))`.
    """

    prompt: list[int]
    answer: list[int]
    scores: Float[Tensor, " tokens"]
    delta: float


def baseline_vector(model: Model, baseline: Baseline) -> Float[Tensor, " d_model"]:
    """The embedding that stands for an absent token.

    Raises:
        DataError: unknown baseline.
    """
    if baseline not in ("zero", "pad"):
        raise DataError(f"unknown baseline {baseline!r}; expected zero or pad")
    pad = embedded(model, torch.tensor([model.pad_id], device=model.device))[0]
    return pad if baseline == "pad" else torch.zeros_like(pad)


@torch.no_grad()
def embedded(model: Model, ids: Int[Tensor, "..."]) -> Float[Tensor, "... d_model"]:
    """The embeddings of token ids, as the decoder receives them."""
    vectors: Tensor = model.anatomy.embedding(ids)
    return vectors


def integrated_gradients(
    model: Model,
    rows: Sequence[tuple[list[int], list[int]]],
    *,
    fixed_answer: bool,
    steps: int = 20,
    baseline: Baseline = "zero",
    batch_tokens: int = 1024,
    progress: bool = False,
) -> list[Scored]:
    """Attribute the log-probability of each answer to the tokens before and in it.

    `A_i = sum_d (e_i - b)_d * integral_0^1 dF(b + a(e - b))/de_i,d da` with
    `F = log p(answer | prompt)`, by captum's Gauss-Legendre quadrature
    (Sundararajan et al., https://arxiv.org/abs/1703.01365). Parameters get no gradients, the LM
    head runs only where an answer token is scored, and at most `batch_tokens` tokens (steps
    included) are in memory at once.

    Args:
        model: the model.
        rows: token ids of prompt and answer.
        fixed_answer: attribute to the prompt alone, with the answer's tokens as they are.
        steps: points of the quadrature.
        baseline: what an absent token is: zeros, or the padding token's embedding.
        batch_tokens: bound on tokens in a forward and backward pass.
        progress: show a bar.

    Returns:
        One result a row, in order; scores in float32 on the CPU.
    """
    found: list[Scored | None] = [None] * len(rows)
    absent = baseline_vector(model, baseline)
    lengths = [len(p) + len(a) for p, a in rows]
    groups = by_tokens(lengths, max(1, batch_tokens // 4))
    with model.frozen(), _quick_attention(model):
        for group in track(groups, "attributing tokens", total=len(groups), show=progress):
            chosen = [rows[i] for i in group]
            room = batch_tokens // max(lengths[i] for i in group)
            scores, deltas = _attribute(model, chosen, absent, fixed_answer, steps, room)
            for i, (prompt, answer), s, d in zip(group, chosen, scores, deltas, strict=True):
                found[i] = Scored(prompt, answer, s[: lengths[i]].float().cpu(), float(d))
    return [scored for scored in found if scored is not None]


@contextmanager
def _quick_attention(model: Model) -> Iterator[None]:
    """On a CPU, attention by plain matrix products.

    The fused kernel's backward pass is several times slower there on texts of ordinary length.
    """
    if model.device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _attribute(
    model: Model,
    rows: Sequence[tuple[list[int], list[int]]],
    absent: Float[Tensor, " d_model"],
    fixed_answer: bool,
    steps: int,
    room: int,
) -> tuple[Float[Tensor, "rows seq"], Float[Tensor, " rows"]]:
    batch = model.batch([p + a for p, a in rows], pad="right")
    embeds = embedded(model, batch["input_ids"])
    answers = _positions(model, rows, batch["input_ids"].shape[1])
    moving = batch["attention_mask"].bool()
    if fixed_answer:
        moving = moving & ~answers
    baselines = torch.where(moving.unsqueeze(-1), absent, embeds)

    def log_probability(inputs: Tensor, row: Int[Tensor, " copies"]) -> Float[Tensor, " copies"]:
        states = model.anatomy.decoder(
            inputs_embeds=inputs,
            attention_mask=batch["attention_mask"][row],
            position_ids=batch["position_ids"][row],
            use_cache=False,
        ).last_hidden_state
        where = answers[row]
        # The state one token earlier predicts each answer token.
        logits = model.logits(states[:, :-1][where[:, 1:]])
        targets = batch["input_ids"][row][where]
        scores = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        copies = where.nonzero()[:, 0]
        return scores.new_zeros(len(row)).index_add(0, copies, scores)

    attributions, deltas = IntegratedGradients(log_probability).attribute(
        embeds,
        baselines=baselines,
        additional_forward_args=(torch.arange(len(rows), device=model.device),),
        n_steps=steps,
        internal_batch_size=max(len(rows), room),
        return_convergence_delta=True,
    )
    return attributions.detach().float().sum(-1), deltas.detach()


def _positions(model: Model, rows: Sequence[tuple[list[int], list[int]]], width: int) -> Tensor:
    """True where a right-padded batch holds an answer's token."""
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for r, (prompt, answer) in enumerate(rows):
        mask[r, len(prompt) : len(prompt) + len(answer)] = True
    return mask.to(model.device)
