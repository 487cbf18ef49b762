"""GrAInS extraction against the straightforward implementation, in one run.

    python benchmarks/grains_extraction.py --pairs 50

The straightforward one works on one sequence at a time, leaves parameter gradients on, takes one
forward and backward pass for each step of the path, computes logits for every token, and runs the
whole model again for each state that it needs. Both use the same quadrature, so the vectors must
agree.
"""

import argparse
import json
import time

import numpy as np
import torch
from torch import Tensor

import steer
from steer._eval._items import data_of
from steer._tasks import TASKS, TEMPLATES, pairs_of
from steer.attribution import Pair, answer_ids
from steer.hooks import Model


def straightforward(
    model: Model, pairs: list[Pair], layer: int, k: int, steps: int
) -> tuple[Tensor, Tensor]:
    """The direction at one layer, and the median norm of the states, one thing at a time."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alphas, weights = (nodes + 1) / 2, weights / 2
    good, bad, norms = [], [], []
    for pair in pairs:
        texts, scores = [], []
        for answer in (pair.chosen, pair.rejected):
            prompt, ids = answer_ids(model, pair.prompt, answer)
            embeds = model.hf.get_input_embeddings()(torch.tensor([prompt + ids])).detach()
            total = torch.zeros_like(embeds)
            for alpha, weight in zip(alphas, weights, strict=True):
                point = (float(alpha) * embeds).requires_grad_(True)
                logits = model.hf(inputs_embeds=point).logits
                log_p = logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
                model.hf.zero_grad()
                log_p[torch.arange(len(ids)), torch.tensor(ids)].sum().backward()
                total += float(weight) * point.grad
            texts.append(embeds)
            scores.append((total * embeds).sum(-1)[0])
        shared = scores[0][: len(prompt)] - scores[1][: len(prompt)]
        for embeds, own, sign, kept in zip(texts, scores, (1, -1), (good, bad), strict=True):
            whole = _state(model, embeds, layer)
            speaks = torch.cat([sign * shared, own[len(prompt) :]])
            kept.append(whole - _state(model, _without(embeds, speaks, k), layer))
            norms.append(whole.norm())
    return torch.stack(good).mean(0) - torch.stack(bad).mean(0), torch.stack(norms).median()


def _without(embeds: Tensor, speaks: Tensor, k: int) -> Tensor:
    best = speaks.topk(min(k, len(speaks)))
    without = embeds.clone()
    without[0, best.indices[best.values > 0]] = 0
    return without


def _state(model: Model, embeds: Tensor, layer: int) -> Tensor:
    out = model.hf(inputs_embeds=embeds, output_hidden_states=True)
    return out.hidden_states[layer + 1][0, -1].detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--k", type=int, default=10)
    given = parser.parse_args()
    model = steer.load(given.model, device="cpu", dtype="float32")
    questions = data_of(TASKS["misconceptions"]).items
    # One pair a question, so that no sequence stands twice and nothing is saved by that.
    pairs = [pairs_of([q], TEMPLATES["qa"], seed=0)[0] for q in questions[: given.pairs]]
    steer.grains(model, pairs[:2], given.layer, steps=2)  # the first call sets up kernels

    started = time.perf_counter()
    plan = steer.grains(
        model,
        pairs,
        given.layer,
        strength=1.0,
        k=given.k,
        steps=given.steps,
        baseline="zero",
        replacement="zero",
    )
    ours = time.perf_counter() - started
    started = time.perf_counter()
    direction, norm = straightforward(model, pairs, given.layer, given.k, given.steps)
    theirs = time.perf_counter() - started

    vector = plan.vectors[steer.resid_post(given.layer)]
    figures = {
        "pairs": given.pairs,
        "steps": given.steps,
        "steer_seconds": round(ours, 1),
        "straightforward_seconds": round(theirs, 1),
        "ratio": round(theirs / ours, 2),
        "cosine": round(float(torch.cosine_similarity(vector, direction, dim=0)), 6),
        "norm_ratio": round(float(vector.norm() / norm), 6),
    }
    print(json.dumps(figures, indent=1))
    if figures["cosine"] < 0.999:
        raise SystemExit("the two implementations disagree")


if __name__ == "__main__":
    main()
