"""Random plans on padded, cached batches against one row alone, edited token by token."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import onerow
import tiny
from steer.hooks import Ablate, Add, Intervention, Plan, Site, Span, attach, prompts

MODEL = tiny.model()
KINDS = ["resid_pre", "resid_post", "attn_out", "mlp_out", "embed", "final"]


@st.composite
def steps(draw: st.DrawFn) -> onerow.Step:
    """One intervention."""
    edit = draw(st.sampled_from(["add", "keep", "ablate"]))
    return onerow.Step(
        kind=draw(st.sampled_from(KINDS)),
        layer=draw(st.integers(0, tiny.N_LAYERS - 1)),
        edit=edit,
        vector=tiny.vector(draw(st.integers(0, 50))),
        span=draw(st.sampled_from(["all", "prompt", "generated", "last"])),
        strength=draw(st.sampled_from([-2.0, -0.5, 0.0, 0.1, 1.0, 3.0])),
    )


def _plan(some: list[onerow.Step]) -> Plan:
    items = []
    for step in some:
        site = Site(step.kind, None if step.kind in ("embed", "final") else step.layer)
        edit: Any = Ablate(step.vector)
        if step.edit != "ablate":
            edit = Add(step.vector, keep_norm=step.edit == "keep")
        items.append(Intervention(site, edit, Span(step.span), step.strength))
    return Plan(tuple(items))


plans = st.lists(steps(), min_size=1, max_size=3)
rows = st.lists(
    st.lists(st.integers(3, tiny._COMMON["vocab_size"] - 1), min_size=1, max_size=8),
    min_size=1,
    max_size=3,
)
sides = st.sampled_from(["left", "right"])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(plans, rows, sides, st.data())
def test_a_padded_pass_is_that_of_each_row_alone(
    some: list[onerow.Step], rows: list[list[int]], pad: str, data: st.DataObject
) -> None:
    lengths = [data.draw(st.integers(1, len(row)), label="prompt") for row in rows]
    batch = MODEL.batch(rows, pad=pad)
    with torch.no_grad(), attach(MODEL, _plan(some)), prompts(lengths):
        got = MODEL.hf(**batch).logits
    for out, mask, row, prompt in zip(got, batch["attention_mask"], rows, lengths, strict=True):
        expected = onerow.logits(MODEL.hf, row, prompt, some)
        torch.testing.assert_close(out[mask.bool()], expected, rtol=1e-3, atol=1e-3)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(plans, rows, st.sampled_from([{}, {"use_cache": False}, {"prefill_chunk_size": 2}]))
def test_generation_is_that_of_each_row_alone(
    some: list[onerow.Step], rows: list[list[int]], way: dict[str, Any]
) -> None:
    batch = MODEL.batch(rows)
    del batch["position_ids"]
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None} | way
    with attach(MODEL, _plan(some)):
        out = MODEL.hf.generate(**batch, **options)
    for ids, row in zip(out, rows, strict=True):
        assert ids[-3:].tolist() == onerow.greedy(MODEL.hf, row, 3, some)
