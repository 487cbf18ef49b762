"""What is said of a span without looking is what looking shows."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from steer.hooks import (
    ALL,
    GENERATED,
    LAST,
    PROMPT,
    Model,
    Plan,
    Span,
    Tokens,
    ablate,
    add,
    after,
    attach,
    first,
    positions,
    resid_post,
)
from steer.hooks._pass import Pass, _settled_in_all
from steer.hooks._settled import Known, settled

NAMED = [ALL, PROMPT, GENERATED, LAST, first(1), first(3), positions(0), after(5)]
WIDTH = 3
MASKS = [[1, 1, 1], [0, 1, 1], [1, 1, 0]]

spans = st.recursive(
    st.sampled_from(NAMED),
    lambda inner: st.one_of(
        inner.map(lambda a: ~a),
        st.tuples(inner, inner).map(lambda ab: ab[0] & ab[1]),
        st.tuples(inner, inner).map(lambda ab: ab[0] | ab[1]),
    ),
    max_leaves=4,
)


def _looked(span: Span, prompt: list[int], past: int, seq: int) -> set[bool]:
    """The values of the span over the tokens of one pass of a row of generation."""
    mask = torch.tensor([[*prompt, *[1] * 8]])[:, : past + seq]
    length = torch.tensor([sum(prompt)])
    ids = torch.zeros_like(mask)
    tokens = Tokens.of_pass((1, seq), mask.device, past, mask, length, ids)
    return set(span(tokens)[0].tolist())


@settings(deadline=None, max_examples=300, derandomize=True)
@given(spans, st.sampled_from(MASKS), st.integers(0, 7), st.integers(1, 4))
def test_it_is_what_looking_shows(span: Span, prompt: list[int], past: int, seq: int) -> None:
    begin = past - WIDTH
    said = settled(span, Known(begin, begin + seq, begin >= 0 or all(prompt)))
    assert said is None or _looked(span, prompt, past, seq) == {said}


@pytest.mark.parametrize(
    ("span", "known", "said"),
    [
        (ALL, Known(0, 1, True), True),
        (ALL, Known(-3, 0, True), True),
        (ALL, Known(-3, 0, False), None),
        (PROMPT, Known(4, 5, True), False),
        (PROMPT, Known(-3, 0, True), True),
        (PROMPT, Known(-3, 1, True), None),
        (GENERATED, Known(4, 5, True), True),
        (GENERATED, Known(-3, 0, True), False),
        (LAST, Known(0, 1, True), False),
        (LAST, Known(-3, 0, True), None),
        (first(3), Known(2, 3, True), True),
        (first(3), Known(3, 4, True), False),
        (first(3), Known(2, 4, True), None),
        (~PROMPT, Known(0, 1, True), True),
        (~ALL, Known(-3, 0, False), None),
        (PROMPT & after(5), Known(0, 1, True), False),
        (GENERATED | after(5), Known(0, 1, True), True),
        (GENERATED & after(5), Known(0, 1, True), None),
    ],
)
def test_it_is_said_where_it_can_be(span: Span, known: Known, said: bool | None) -> None:
    assert settled(span, known) is said


@pytest.mark.parametrize("values", list(product([True, False, None], repeat=2)))
def test_rows_are_settled_together(values: tuple[bool | None, ...]) -> None:
    kinds = {True: GENERATED, False: PROMPT, None: after(5)}
    said = _settled_in_all(tuple(kinds[value] for value in values), Known(0, 1, True))
    assert said is (values[0] if values[0] == values[1] else None)


def test_a_row_without_a_plan_is_settled_as_no_token() -> None:
    assert _settled_in_all((None, PROMPT), Known(0, 1, True)) is False
    assert _settled_in_all((None, GENERATED), Known(0, 1, True)) is None


@pytest.mark.parametrize("rows", [[[5, 6, 7], [8, 9, 10]], [[5, 6, 7], [8]]])
def test_nothing_is_looked_at_while_decoding(
    model: Model, rows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    select = Pass.select

    def spy(state: Pass, *args: object) -> object:
        looked.append(state.tokens.real.shape[1])
        return select(state, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Pass, "select", spy)
    plan: Plan = add(resid_post(1), tiny.vector()) + ablate(resid_post(2), tiny.vector(1))
    batch = model.batch(rows)
    del batch["position_ids"]
    with attach(model, plan + plan.on("generated") + plan.on("last")):
        model.hf.generate(**batch, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert set(looked) == {3}  # the prompt, whose last token has to be found
