"""`generate` tells attached plans where its prompts end, however it is called."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

import tiny
from steer.hooks import Model, Plan, add, attach, resid_post

ROWS = [[5, 6, 7, 8], [9, 10], [11]]
WIDTH = 4
GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
NO_END = GenerationConfig(eos_token_id=None, **GREEDY)
Call = Callable[[Model, dict[str, Tensor]], Tensor]


def _plan(span: str) -> Plan:
    return add(resid_post(1), tiny.vector(1), strength=3.0, span=span)


def _padded(model: Model) -> dict[str, Tensor]:
    batch = model.batch(ROWS)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@cache
def _alone(span: str) -> list[list[int]]:
    """What each row is continued with, alone and unpadded, where there is nothing to tell apart."""
    model = tiny.model()
    with attach(model, _plan(span)):
        outs = [model.hf.generate(torch.tensor([row]), **GREEDY) for row in ROWS]
    return [out[0, len(row) :].tolist() for out, row in zip(outs, ROWS, strict=True)]


CALLS: dict[str, Call] = {
    "keywords": lambda m, b: m.hf.generate(**b, **GREEDY),
    "mask": lambda m, b: m.hf.generate(
        b["input_ids"], attention_mask=b["attention_mask"], **GREEDY
    ),
    "inputs": lambda m, b: m.hf.generate(inputs=b["input_ids"], **GREEDY),
    "no mask": lambda m, b: m.hf.generate(b["input_ids"], **GREEDY),
    "positional settings": lambda m, b: m.hf.generate(b["input_ids"], GenerationConfig(**GREEDY)),
    "settings without padding": lambda m, b: m.hf.generate(
        b["input_ids"], generation_config=GenerationConfig(**GREEDY)
    ),
    "settings over the model's": lambda m, b: m.hf.generate(
        b["input_ids"], GenerationConfig(pad_token_id=0, eos_token_id=[2], **GREEDY)
    ),
    "uncached": lambda m, b: m.hf.generate(b["input_ids"], use_cache=False, **GREEDY),
}


@pytest.mark.parametrize("span", ["prompt", "generated", "last"])
@pytest.mark.parametrize("call", CALLS)
def test_padding_is_told_apart(call: str, span: str) -> None:
    model = tiny.model()
    with attach(model, _plan(span)):
        got = CALLS[call](model, _padded(model))[:, WIDTH:].tolist()
    for new, alone in zip(got, _alone(span), strict=True):
        assert new[: len(alone)] == alone


PADDING_IS_TEXT: dict[str, dict[str, Any]] = {
    "one end": {"pad_token_id": 0, "eos_token_id": 0},
    "several ends": {"pad_token_id": 0, "eos_token_id": [2, 0]},
    "no padding token": {"pad_token_id": None, "eos_token_id": 2},
}


@pytest.mark.parametrize("span", ["prompt", "generated", "last"])
@pytest.mark.parametrize("case", PADDING_IS_TEXT)
def test_padding_that_may_be_text_counts(case: str, span: str) -> None:
    # `generate` attends to it all, where no mask is given, so the prompts are as wide as the batch.
    model = tiny.model()
    ids = _padded(model)["input_ids"]
    options = GREEDY | PADDING_IS_TEXT[case]
    with attach(model, _plan(span)):
        got = model.hf.generate(ids, **options)
        same = model.hf.generate(ids, attention_mask=torch.ones_like(ids), **options)
        uncached = model.hf.generate(ids, use_cache=False, **options)
    assert got.tolist() == same.tolist() == uncached.tolist()


@pytest.mark.parametrize("span", ["prompt", "generated", "last"])
@pytest.mark.parametrize("masked", [True, False])
def test_embeddings_are_prompts(span: str, masked: bool) -> None:
    model = tiny.model()
    rows = ROWS if masked else [ROWS[0], ROWS[0][::-1]]
    batch = model.batch(rows)
    embeds = model.hf.get_input_embeddings()(batch["input_ids"]).detach()
    mask = {"attention_mask": batch["attention_mask"]}
    with attach(model, _plan(span)):
        got = model.hf.generate(inputs_embeds=embeds, **(mask if masked else {}), **GREEDY)
        expected = model.hf.generate(batch["input_ids"], **mask, **GREEDY)
    assert got.tolist() == expected[:, WIDTH:].tolist()


@pytest.mark.parametrize("span", ["prompt", "generated", "last"])
def test_a_call_without_a_prompt_begins_with_one_token(span: str) -> None:
    model = tiny.model()
    with attach(model, _plan(span)):
        expected = model.hf.generate(torch.tensor([[1]]), **GREEDY)
        assert model.hf.generate(**GREEDY).tolist() == expected.tolist()
        assert model.hf.generate(use_cache=False, **GREEDY).tolist() == expected.tolist()


class _Watch(LogitsProcessor):
    """A logits processor that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        return scores


def test_every_argument_is_passed_on() -> None:
    model, watch = tiny.model(), _Watch()
    with attach(model, _plan("all")):
        model.hf.generate(torch.tensor([[5, 6]]), NO_END, LogitsProcessorList([watch]))
        out = model.hf.generate(
            torch.tensor([[5, 6]]), NO_END, return_dict_in_generate=True, output_scores=True
        )
    assert watch.calls == 4
    assert len(out.scores) == 4


def test_the_wrapper_looks_like_the_method() -> None:
    model = tiny.model()
    method = model.hf.generate
    with attach(model, _plan("all")):
        assert model.hf.generate.__name__ == "generate"
        assert model.hf.generate.__doc__ == method.__doc__
