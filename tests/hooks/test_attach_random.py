"""Random plans on padded, cached batches against one row alone, edited token by token."""

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

import drawn
import onerow
import tiny
from steer.hooks import Plan, attach, prompts

MODEL = tiny.model()
Steps = list[onerow.Step]

sides = st.sampled_from(["left", "right"])
# For all rows one list of steps; or for each row one, or None.
shared = drawn.steps().map(lambda some: [some])
by_row = st.lists(st.none() | drawn.steps(2), min_size=1, max_size=3)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Steps | None], list[list[int]]]:
    """Steps, and rows as many or twice as many."""
    some = draw(shared | by_row)
    count = draw(st.integers(1, 3)) if len(some) == 1 else len(some) * draw(st.integers(1, 2))
    return some, [draw(drawn.ROWS) for _ in range(count)]


def _attached(some: list[Steps | None]) -> Plan | list[Plan | None]:
    plans = [entry and drawn.plan(entry) for entry in some]
    return plans if len(some) > 1 or plans[0] is None else plans[0]


def _of(some: list[Steps | None], rows: Sequence[Any]) -> list[Steps]:
    """The steps of each row."""
    each = len(rows) // len(some)
    return [some[r // each] or [] for r in range(len(rows))]


def _check(got: Tensor, batch: dict[str, Tensor], rows: Any, lengths: Any, some: Any) -> None:
    for out, mask, row, prompt, steps in zip(
        got, batch["attention_mask"], rows, lengths, _of(some, rows), strict=True
    ):
        expected = onerow.logits(MODEL.hf, row, prompt, steps)
        torch.testing.assert_close(out[mask.bool()], expected, rtol=1e-3, atol=1e-3)


def _lengths(data: st.DataObject, rows: list[list[int]]) -> list[int]:
    return [data.draw(st.integers(1, len(row)), label="prompt") for row in rows]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(batches(), sides, st.data())
def test_a_padded_pass_is_that_of_each_row_alone(
    drawn_batch: tuple[list[Steps | None], list[list[int]]], pad: str, data: st.DataObject
) -> None:
    some, rows = drawn_batch
    lengths = _lengths(data, rows)
    batch = MODEL.batch(rows, pad=pad)
    with torch.no_grad(), attach(MODEL, _attached(some)), prompts(lengths):
        got = MODEL.hf(**batch).logits
    _check(got, batch, rows, lengths, some)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(batches(), sides, st.data())
def test_cached_passes_are_those_of_each_row_alone(
    drawn_batch: tuple[list[Steps | None], list[list[int]]], pad: str, data: st.DataObject
) -> None:
    some, rows = drawn_batch
    lengths = _lengths(data, rows)
    batch = MODEL.batch(rows, pad=pad)
    width = batch["input_ids"].shape[1]
    cuts = sorted(data.draw(st.sets(st.integers(1, width), max_size=3)) | {width})
    cache, parts, begin = DynamicCache(config=MODEL.hf.config), [], 0
    with torch.no_grad(), attach(MODEL, _attached(some)), prompts(lengths):
        for end in cuts:
            part = {name: tensor[:, begin:end] for name, tensor in batch.items()}
            part["attention_mask"] = batch["attention_mask"][:, :end]
            parts.append(MODEL.hf(**part, past_key_values=cache).logits)
            begin = end
    _check(torch.cat(parts, 1), batch, rows, lengths, some)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(batches(), st.sampled_from([{}, {"use_cache": False}, {"prefill_chunk_size": 2}]))
def test_generation_is_that_of_each_row_alone(
    drawn_batch: tuple[list[Steps | None], list[list[int]]], way: dict[str, Any]
) -> None:
    some, rows = drawn_batch
    batch = MODEL.batch(rows)
    del batch["position_ids"]
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None} | way
    with attach(MODEL, _attached(some)):
        out = MODEL.hf.generate(**batch, **options)
    for ids, row, steps in zip(out, rows, _of(some, rows), strict=True):
        assert ids[-3:].tolist() == onerow.greedy(MODEL.hf, row, 3, steps)
