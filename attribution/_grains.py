"""GrAInS: steering vectors from the tokens that gradients blame (arXiv 2507.18043)."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from steer.hooks import ALL, DataError, Model, Plan, Span, as_model

from ._ablated import last_states
from ._build import layers_of, plan_of
from ._caa import typical_norm
from ._directions import Aggregate, mean
from ._integrated import Baseline, Scored, baseline_vector, integrated_gradients
from ._pairs import Pair, PairLike, answer_ids, as_pairs

Over = Literal["prompt", "answer"]


def grains(
    model: Model | PreTrainedModel,
    pairs: Iterable[PairLike],
    layers: int | Iterable[int] | None = None,
    *,
    strength: float = 0.1,
    span: Span | str = ALL,
    keep_norm: bool = True,
    over: Over = "answer",
    k: int = 10,
    steps: int = 20,
    baseline: Baseline = "zero",
    replacement: Baseline = "pad",
    aggregate: Aggregate = mean,
    batch_tokens: int = 1024,
    progress: bool = False,
) -> Plan:
    """A steering vector from what the most decisive tokens contribute to the hidden states.

    Integrated gradients of the preference `F = log p(y+ | x) - log p(y- | x)` score each token;
    `I+` are the `k` tokens that speak most for `y+`, `I-` those that speak most for `y-`. With the
    tokens of a set replaced by the baseline, the states at the last token change by
    `D+ = h - h(without I+)` and `D- = h - h(without I-)`, and
    `v[l] = aggregate(D+) - aggregate(D-)`.

    With `over="prompt"`, as in the paper, both sets are drawn from the prompt and states are read
    at its end. With `over="answer"` the sequences are `x + y+` (for `I+`) and `x + y-` (for `I-`),
    so that the answers' own tokens can be chosen as well. An answer's last token, whose state is
    read, predicts nothing of the answer: its score is zero and it is never ablated.

    Args:
        model: the model to read from.
        pairs: prompt, chosen and rejected answer of each.
        layers: where to steer; by default one layer at 60 % of the depth.
        strength: of the plan, as a fraction of the layer's own residual norm.
        span: which tokens the plan edits.
        keep_norm: rescale each edited token to the norm it had (eq. 9 of the paper).
        over: which sequences tokens are drawn from.
        k: how many tokens each set has at most.
        steps: points on the path of the integrated gradients.
        baseline: where the path of the integrated gradients begins: at zeros, or at the padding
            token's embedding.
        replacement: what stands in the place of an ablated token, of the same two.
        aggregate: from the pairs' differences at a layer to one direction.
        batch_tokens: bound on tokens in a pass, which bounds memory.
        progress: show bars.

    Returns:
        The plan; `plan.meta["convergence_delta"]` holds the mean and the largest completeness error
        of the attributions, relative to the size of the attributions.

    Raises:
        DataError: no pairs or broken ones, or `k` or `steps` below 1. SiteError: no such layer.
    """
    if k < 1 or steps < 1:
        raise DataError(f"grains: k and steps must be at least 1, got k={k}, steps={steps}")
    model = as_model(model)
    where, checked = layers_of(model, layers), as_pairs(pairs)
    if over not in ("prompt", "answer"):
        raise DataError(f"grains: over must be 'prompt' or 'answer', got {over!r}")
    good, bad = preference(
        model,
        checked,
        over=over,
        steps=steps,
        baseline=baseline,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    whole = [(_tokens(s, over), ()) for s in good], [(_tokens(s, over), ()) for s in bad]
    without = [[(_tokens(s, over), _top(s.scores, k)) for s in scored] for scored in (good, bad)]
    wanted = [*whole[0], *without[0], *whole[1], *without[1]]
    states = last_states(
        model,
        wanted,
        where,
        baseline_vector(model, replacement),
        batch_tokens=batch_tokens,
        progress=progress,
    )
    directions, norms = {}, {}
    for layer in where:
        whole_good, without_good, whole_bad, without_bad = states[layer].chunk(4)
        up, down = aggregate(whole_good - without_good), aggregate(whole_bad - without_bad)
        directions[layer] = up - down
        norms[layer] = typical_norm(torch.cat([whole_good, whole_bad]))
    meta = {
        "method": "grains",
        "pairs": len(checked),
        "over": over,
        "k": k,
        "steps": steps,
        "baseline": baseline,
        "replacement": replacement,
        "convergence_delta": _completeness(good + bad),
    }
    return plan_of(
        model, directions, norms, strength=strength, span=span, keep_norm=keep_norm, meta=meta
    )


def preference(
    model: Model, pairs: Sequence[Pair], *, over: Over, **options: Any
) -> tuple[list[Scored], list[Scored]]:
    """How much each token of `x + y+` speaks for `y+`, and each of `x + y-` for `y-`.

    Both are integrated gradients of the preference `F`: a prompt's token counts for one answer by
    as much as it counts against the other; an answer's token stands in one term only. Over the
    prompt alone, the answers' tokens are held fixed and left out.
    """
    rows = [answer_ids(model, p.prompt, p.chosen) for p in pairs]
    rows += [answer_ids(model, p.prompt, p.rejected) for p in pairs]
    unique = list({(tuple(p), tuple(a)): (p, a) for p, a in rows}.values())
    found = integrated_gradients(model, unique, fixed_answer=over == "prompt", **options)
    scored = {(tuple(s.prompt), tuple(s.answer)): s for s in found}
    in_order = [scored[tuple(p), tuple(a)] for p, a in rows]
    both = list(zip(in_order[: len(pairs)], in_order[len(pairs) :], strict=True))
    return (
        [_against(good, bad, over) for good, bad in both],
        [_against(bad, good, over) for good, bad in both],
    )


def _against(one: Scored, other: Scored, over: Over) -> Scored:
    """The attribution of `log p(one) - log p(other)` to the tokens of `one`."""
    length = len(one.prompt)
    prompt = one.scores[:length] - other.scores[:length]
    scores = prompt if over == "prompt" else torch.cat([prompt, one.scores[length:]])
    return Scored(one.prompt, one.answer, scores, one.delta - other.delta)


def _tokens(scored: Scored, over: Over) -> tuple[int, ...]:
    return (*scored.prompt, *scored.answer) if over == "answer" else tuple(scored.prompt)


def _top(scores: Float[Tensor, " tokens"], k: int) -> tuple[int, ...]:
    """The `k` highest scores that are above zero."""
    best = scores.topk(min(k, len(scores)))
    return tuple(best.indices[best.values > 0].tolist())


def _completeness(scored: Sequence[Scored]) -> dict[str, float]:
    """Completeness error of the attributions, relative to the sum of their sizes."""
    errors = [abs(s.delta) / max(float(s.scores.abs().sum()), 1e-12) for s in scored]
    return {"mean": sum(errors) / len(errors), "max": max(errors)}
