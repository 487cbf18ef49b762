"""Choices and their scores by hand under an added vector: one sequence at a time, no cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import byhand
import onerow
import parts
import tiny
from steer.hooks import Model, Plan, Span, add, any_of, first, positions, resid_post

Scores = list[list[float]]

# Prompts of 1 to 13 tokens (the tiny gemma's window is 8), choices of 1 to 11, and what a tree has
# to tell apart: choices that share beginnings, that begin others, that are the same, and the same
# tokens in another place.
PROMPTS = [
    [5, 6, 7, 8],
    [9],
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22],
    [30, 31],
    [6, 7],
]
CHOICES = [
    [[40], [41, 42], [43]],
    [[44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54]],
    [[6, 7], [8, 9, 10, 11], [12, 13, 14, 15, 16, 17, 18, 19, 20]],
    [[21], [22], [21]],
    [[8, 9, 10], [8, 9], [8, 9, 11, 12], [13, 8, 9, 10], [8, 9, 10]],
]

HEAD = [20, 21, 6, 7, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35]
"""Eighteen tokens for prompts to begin with."""

V = 2 * tiny.vector()

SPANS: dict[str | Span, onerow.Rule] = {
    "all": "all",
    "prompt": "prompt",
    "generated": "generated",
    "last": "last",
    first(2): ("first", 2),
    positions(1, 4): ("positions", 1, 4),
    positions(-2): ("positions", -2, None),
    any_of([6, 8, 9]): ("any_of", 6, 8, 9),
    ~first(1) & any_of([8, 9, 10]): ("and", ("not", ("first", 1)), ("any_of", 8, 9, 10)),
}
"""Spans, and the same in the words of `onerow`."""


def plan(span: str | Span, strength: float = 1.0) -> Plan:
    """What `by_hand` does by a rule, as a plan."""
    return add(resid_post(1), V, strength=strength, span=span)


def by_hand(
    model: Model,
    layer: nn.Module,
    rule: onerow.Rule | None = None,
    *,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    choices: Sequence[Sequence[Sequence[int]]] = CHOICES,
) -> Scores:
    """The scores with `V` added to what leaves `layer` where the rule says, if there is one."""

    def one(prompt: Sequence[int], choice: Sequence[int]) -> float:
        row = [*prompt, *choice]
        here = torch.zeros(1, len(row), dtype=torch.bool)
        here[0, [] if rule is None else onerow.chosen(rule, len(prompt), row)] = True
        with parts.changing(layer, parts.adding(V, here)):
            return byhand.score(model.hf, prompt, choice)

    return [[one(p, c) for c in some] for p, some in zip(prompts, choices, strict=True)]


def flat(scores: Scores) -> list[float]:
    return [score for group in scores for score in group]


def close(found: Scores, expected: Scores, allowed: float = 1e-4) -> None:
    assert [len(group) for group in found] == [len(group) for group in expected]
    assert flat(found) == pytest.approx(flat(expected), abs=allowed)


@contextmanager
def passes(model: Model) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The token ids and the attention mask of each pass of the decoder; scoring gives both."""
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(_: nn.Module, __: Any, given: dict[str, Any]) -> None:
        if isinstance(given.get("attention_mask"), Tensor):  # not where a model is probed
            seen.append((given["input_ids"], given["attention_mask"]))

    handle = model.anatomy.decoder.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def trees(seen: Sequence[tuple[Tensor, Tensor]]) -> list[bool]:
    """Whether each pass held trees."""
    return [mask.dim() == 4 for _, mask in seen]


@contextmanager
def little_memory(model: Model, rows: int) -> Iterator[list[int]]:
    """A decoder that runs out of memory with more than so many rows; the rows of its passes."""
    seen: list[int] = []

    def hook(_: nn.Module, args: Any, given: dict[str, Any]) -> None:
        tokens = (*args, given.get("input_ids"), given.get("inputs_embeds"))
        seen.append(next(len(some) for some in tokens if some is not None))
        if seen[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = model.anatomy.decoder.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()
