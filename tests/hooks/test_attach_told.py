"""What `generate` tells is for its own passes; any other pass is placed as it is alone."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.generation.streamers import BaseStreamer

import onerow
import tiny
from ruled import (
    GREEDY,
    MODEL,
    NEW,
    OTHER,
    PROMPTS,
    SHORT,
    TEXTS,
    alone,
    close,
    plan_of,
    rules,
    span_of,
    step,
)
from steer.hooks import (
    Model,
    add,
    attach,
    first,
    prompts,
    resid_post,
)

Processor = Callable[[Tensor, Tensor], Tensor]


def _looking(model: Model, texts: list[list[int]], seen: list[Tensor]) -> Processor:
    def look(_: Tensor, scores: Tensor) -> Tensor:
        seen.append(model.hf(torch.tensor(texts)).logits)
        return scores

    return look


@rules
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("texts", [TEXTS, SHORT, PROMPTS], ids=["longer", "shorter", "the prompts"])
@pytest.mark.parametrize("other", [MODEL, OTHER], ids=["same model", "other model"])
def test_a_logits_processor_may_run_some_other_text(
    rule: onerow.Rule, rows: int, texts: list[list[int]], other: Model
) -> None:
    seen: list[Tensor] = []
    with ExitStack() as stack:
        stack.enter_context(attach(MODEL, plan_of(rule)))
        if other is not MODEL:
            stack.enter_context(attach(other, plan_of(rule)))
        out = MODEL.hf.generate(
            torch.tensor(PROMPTS[:rows]),
            logits_processor=[_looking(other, texts, seen)],
            **GREEDY,
        )
    by_hand = [onerow.greedy(MODEL.hf, row, NEW, [step(rule)]) for row in PROMPTS[:rows]]
    assert out[:, -NEW:].tolist() == by_hand
    expected = torch.stack([alone(other, row, len(row), rule) for row in texts])
    assert len(seen) == NEW
    for logits in seen:
        close(logits, expected)


@rules
@pytest.mark.parametrize("rows", [1, 2])
def test_a_processor_with_another_batch_is_no_row_of_generate(rule: onerow.Rule, rows: int) -> None:
    seen: list[Tensor] = []
    with attach(MODEL, plan_of(rule)):
        out = MODEL.hf.generate(
            torch.tensor(PROMPTS[:rows]),
            logits_processor=[_looking(MODEL, [*TEXTS, TEXTS[0]][rows - 1 :], seen)],
            **GREEDY,
        )
    by_hand = [onerow.greedy(MODEL.hf, row, NEW, [step(rule)]) for row in PROMPTS[:rows]]
    assert out[:, -NEW:].tolist() == by_hand
    close(seen[-1][-1], alone(MODEL, TEXTS[0], 6, rule))


@rules
@pytest.mark.parametrize("way", [{"use_cache": False}, {"prefill_chunk_size": 2}], ids=str)
def test_a_stopping_rule_may_run_some_other_text(rule: onerow.Rule, way: dict[str, Any]) -> None:
    seen: list[Tensor] = []
    look = _looking(MODEL, TEXTS[:1], seen)

    def go_on(ids: Tensor, scores: Any) -> Tensor:
        look(ids, ids)
        return torch.zeros(ids.shape[0], dtype=torch.bool)

    with attach(MODEL, plan_of(rule)):
        out = MODEL.hf.generate(torch.tensor(PROMPTS), stopping_criteria=[go_on], **(GREEDY | way))
    assert out[:, -NEW:].tolist() == [
        onerow.greedy(MODEL.hf, row, NEW, [step(rule)]) for row in PROMPTS
    ]
    close(seen[-1][0], alone(MODEL, TEXTS[0], 6, rule))


@rules
def test_a_processor_may_decode_with_a_cache_of_its_own(rule: onerow.Rule) -> None:
    cache, fed, seen = DynamicCache(config=MODEL.hf.config), list(TEXTS[0]), list[Tensor]()

    def look(_: Tensor, scores: Tensor) -> Tensor:
        here = fed if not seen else fed[-1:]
        seen.append(MODEL.hf(torch.tensor([here]), past_key_values=cache).logits[0])
        fed.append(20 + len(seen))
        return scores

    with attach(MODEL, plan_of(rule)):
        out = MODEL.hf.generate(torch.tensor(PROMPTS[:1]), logits_processor=[look], **GREEDY)
    assert out[0, -NEW:].tolist() == onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [step(rule)])
    close(torch.cat(seen), alone(MODEL, fed[:-1], 6, rule))


def test_a_processor_may_say_where_its_own_prompts_end() -> None:
    seen: list[Tensor] = []
    look = _looking(MODEL, TEXTS[:1], seen)

    def told(ids: Tensor, scores: Tensor) -> Tensor:
        with prompts([2]):
            return look(ids, scores)

    with attach(MODEL, plan_of("generated")):
        out = MODEL.hf.generate(torch.tensor(PROMPTS[:1]), logits_processor=[told], **GREEDY)
    assert out[0, -NEW:].tolist() == onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [step("generated")])
    close(seen[-1][0], alone(MODEL, TEXTS[0], 2, "generated"))


OUTER, INNER = tiny.vector(5), tiny.vector(6)


@rules
@pytest.mark.parametrize("way", [{}, {"use_cache": False}], ids=str)
def test_both_of_two_blocks_hear_what_generate_tells(
    rule: onerow.Rule, way: dict[str, Any]
) -> None:
    steps = [
        onerow.Step("resid_post", 1, "add", OUTER, rule, 2.0),
        onerow.Step("resid_post", 2, "add", INNER, ("first", 1), 2.0),
    ]
    by_hand = [onerow.greedy(MODEL.hf, row, NEW, steps) for row in PROMPTS]
    seen: list[Tensor] = []
    look = _looking(MODEL, TEXTS[:1], seen)
    with (
        attach(MODEL, add(resid_post(1), OUTER, strength=2.0, span=span_of(rule))),
        attach(MODEL, add(resid_post(2), INNER, strength=2.0, span=first(1))),
    ):
        for _ in range(2):
            out = MODEL.hf.generate(
                torch.tensor(PROMPTS), logits_processor=[look], **(GREEDY | way)
            )
            assert out[:, -NEW:].tolist() == by_hand
    close(seen[-1][0], onerow.logits(MODEL.hf, TEXTS[0], 6, steps))


@rules
def test_a_second_generate_is_the_first_again(rule: onerow.Rule) -> None:
    rows = [[5, 6, 7, 8], [9, 7], [5, 6, 7, 8], [11, 12, 13, 7, 14, 15]]
    with attach(MODEL, plan_of(rule)):
        got = [MODEL.hf.generate(torch.tensor([row]), **GREEDY)[0, -NEW:] for row in rows]
    for new, row in zip(got, rows, strict=True):
        assert new.tolist() == onerow.greedy(MODEL.hf, row, NEW, [step(rule)])


class _Generating(BaseStreamer):
    """Generates from some other text whenever it is given tokens."""

    def __init__(self, row: list[int]) -> None:
        self.row, self.written = row, list[list[int]]()

    def put(self, value: Tensor) -> None:
        out = MODEL.hf.generate(torch.tensor([self.row]), **GREEDY)
        self.written.append(out[0, len(self.row) :].tolist())

    def end(self) -> None:
        self.put(torch.empty(0))


@rules
@pytest.mark.parametrize("way", [{}, {"use_cache": False}, {"prefill_chunk_size": 2}], ids=str)
def test_a_streamer_may_generate(rule: onerow.Rule, way: dict[str, Any]) -> None:
    streamer = _Generating([13, 7])
    with attach(MODEL, plan_of(rule)):
        out = MODEL.hf.generate(torch.tensor(PROMPTS[:1]), streamer=streamer, **(GREEDY | way))
    assert out[0, -NEW:].tolist() == onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [step(rule)])
    inner = onerow.greedy(MODEL.hf, [13, 7], NEW, [step(rule)])
    assert streamer.written == [inner] * (NEW + 2)


def test_a_generate_that_failed_tells_nothing_afterwards() -> None:
    def fail(_: Tensor, __: Tensor) -> Tensor:
        raise KeyError("stop")

    with attach(MODEL, plan_of("prompt")):
        with pytest.raises(KeyError, match="stop"):
            MODEL.hf.generate(torch.tensor([[5, 6]]), logits_processor=[fail], **GREEDY)
        with torch.no_grad():
            got = MODEL.hf(torch.tensor(TEXTS[:1])).logits[0]
    close(got, alone(MODEL, TEXTS[0], 6, "prompt"))
