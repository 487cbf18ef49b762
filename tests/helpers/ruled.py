"""One added vector under every rule for tokens, and what it does to one row by index."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import Model, Plan, add, after, first, resid_post

MODEL, OTHER = tiny.model(), tiny.model(seed=1)
V = tiny.vector(3)
NEW = 5
GREEDY = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
RULES: dict[str, onerow.Rule] = {
    "prompt": "prompt",
    "generated": "generated",
    "last": "last",
    "first(1)": ("first", 1),
    "first(2)": ("first", 2),
    "after(7)": ("after", 7),
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def step(rule: onerow.Rule) -> onerow.Step:
    return onerow.Step("resid_post", 1, "add", V, rule, 3.0)


def span_of(rule: onerow.Rule) -> Any:
    if isinstance(rule, str):
        return rule
    name, token = rule
    return first(token) if name == "first" else after(token)


def plan_of(rule: onerow.Rule) -> Plan:
    return add(resid_post(1), V, strength=3.0, span=span_of(rule))


def alone(model: Model, row: Sequence[int], prompt: int, rule: onerow.Rule | None) -> Tensor:
    """`[tokens, vocab]` of one row by index."""
    return onerow.logits(model.hf, row, prompt, [] if rule is None else [step(rule)])


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


# Texts that other passes run, and the prompts of `generate`.
TEXTS = [[30, 7, 31, 32, 33, 34], [35, 36, 7, 37, 38, 39]]
SHORT = [[30, 7], [7, 36]]
PROMPTS = [[5, 6, 7, 8], [9, 10, 7, 12]]
