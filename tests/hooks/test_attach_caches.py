"""Caches that take turns in a loop of one's own are as each alone."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Cache, DynamicCache

import onerow
from ruled import GREEDY, MODEL, NEW, PROMPTS, TEXTS, alone, close, plan_of, rules, step
from steer.hooks import (
    attach,
)

FED = {"a": [[5, 6, 7], [20], [7], [21], [22]], "b": [[7, 8, 9, 10, 11, 12, 13], [23], [24], [25]]}
TURNS = {
    "one by one": "abababab" + "a",
    "in blocks": "aabbbaaab",
    "after each other": "aaaaabbbb",
}
turns = pytest.mark.parametrize("order", TURNS.values(), ids=TURNS)


def _expected(name: str, rule: onerow.Rule) -> Tensor:
    row = [token for piece in FED[name] for token in piece]
    return alone(MODEL, row, len(FED[name][0]), rule)


def _pass(ids: list[int], cache: Any) -> tuple[Tensor, Any]:
    out = MODEL.hf(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    return out.logits[0], out.past_key_values


@rules
@turns
@pytest.mark.parametrize("made", ["given", "by the model"])
@pytest.mark.parametrize("scoring", [False, True])
@torch.no_grad()
def test_caches_that_take_turns_are_as_each_alone(
    rule: onerow.Rule, order: str, made: str, scoring: bool
) -> None:
    caches: dict[str, Any] = {
        name: DynamicCache(config=MODEL.hf.config) if made == "given" else None for name in FED
    }
    left = {name: list(fed) for name, fed in FED.items()}
    got: dict[str, list[Tensor]] = {name: [] for name in FED}
    expected = alone(MODEL, TEXTS[0], 6, rule)
    with attach(MODEL, plan_of(rule)):
        for name in order:
            logits, caches[name] = _pass(left[name].pop(0), caches[name])
            got[name].append(logits)
            if scoring:
                scored = MODEL.hf(torch.tensor(TEXTS), use_cache=False).logits
                close(scored[0], expected)
    for name in FED:
        close(torch.cat(got[name]), _expected(name, rule))


@rules
@torch.no_grad()
def test_a_generate_in_between_leaves_a_cache_as_it_was(rule: onerow.Rule) -> None:
    cache, got = DynamicCache(config=MODEL.hf.config), []
    by_hand = onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [step(rule)])
    with attach(MODEL, plan_of(rule)):
        for piece in FED["a"]:
            got.append(_pass(piece, cache)[0])
            out = MODEL.hf.generate(torch.tensor(PROMPTS), **GREEDY)
            assert out[0, -NEW:].tolist() == by_hand
    close(torch.cat(got), _expected("a", rule))


@rules
@torch.no_grad()
def test_a_cache_that_is_emptied_begins_anew(rule: onerow.Rule) -> None:
    cache, got = DynamicCache(config=MODEL.hf.config), []
    with attach(MODEL, plan_of(rule)):
        for piece in FED["b"]:
            _pass(piece, cache)
        cache.reset()
        for piece in FED["a"]:
            got.append(_pass(piece, cache)[0])
    close(torch.cat(got), _expected("a", rule))


@rules
@torch.no_grad()
def test_a_cache_that_is_cut_back_goes_on_from_there(rule: onerow.Rule) -> None:
    cache, taken_back = DynamicCache(config=MODEL.hf.config), [7, 30, 31]
    with attach(MODEL, plan_of(rule)):
        got = [_pass(piece, cache)[0] for piece in FED["a"][:2]]
        _pass(taken_back, cache)
        cache.crop(-len(taken_back))
        got += [_pass(piece, cache)[0] for piece in FED["a"][2:]]
    close(torch.cat(got), _expected("a", rule))


@pytest.mark.parametrize("rule", ["prompt", "generated", "last", ("first", 2)], ids=str)
@torch.no_grad()
def test_a_copied_cache_goes_on_after_its_prompt(rule: onerow.Rule) -> None:
    begun = DynamicCache(config=MODEL.hf.config)
    with attach(MODEL, plan_of(rule)):
        got = [_pass(FED["a"][0], begun)[0]]
        cache: Cache = deepcopy(begun)
        got += [_pass(piece, cache)[0] for piece in FED["a"][1:]]
    close(torch.cat(got), _expected("a", rule))


@torch.no_grad()
def test_a_cache_filled_before_the_block_is_all_prompt() -> None:
    cache, rule = DynamicCache(config=MODEL.hf.config), ("first", 2)
    _pass(FED["a"][0], cache)
    with attach(MODEL, plan_of(rule)):
        got = [_pass(piece, cache)[0] for piece in FED["a"][1:]]
    close(torch.cat(got), _expected("a", rule)[3:])
