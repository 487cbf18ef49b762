"""The tokens of the pass under way, and which of them each row's span selects."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from steer.hooks import ALL, LAST, DataError, Span, after, first, prompts
from steer.hooks._pass import Pass, Spans
from steer.hooks._prompts import Prompts, told
from steer.hooks._texts import history

CPU = torch.device("cpu")


def _t(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


class _Cache:
    def __init__(self, length: int | Tensor) -> None:
        self.length = length

    def get_seq_length(self) -> int | Tensor:
        return self.length


def _lists(ids: Tensor | None) -> list[list[int]] | None:
    return None if ids is None else ids.tolist()


def _of_generate(*rows: list[int], embedded: int = 0) -> Prompts:
    return Prompts(torch.tensor([1]), ids=_t(*rows), embedded=embedded)


@pytest.mark.parametrize(
    ("before", "here", "past", "expected"),
    [
        (None, _t([1, 2]), 0, [[1, 2]]),
        (_t([8, 9]), _t([1, 2]), 0, [[1, 2]]),
        (_t([1, 2]), _t([3]), 2, [[1, 2, 3]]),
        (_t([1, 2, 9, 9]), _t([3]), 2, [[1, 2, 3]]),  # the cache was cut back
        (None, _t([3]), 2, None),
        (_t([1]), _t([3]), 2, None),
        (_t([1, 2]), _t([3], [4]), 2, None),
        (_t([1, 2]), None, 2, None),
        (_t([1, 2]), _t([3, 4]), 2, None),  # two ids, but a pass of one token
    ],
)
def test_the_tokens_of_the_cache_are_those_of_the_passes_before(
    before: Tensor | None, here: Tensor | None, past: int, expected: list[list[int]] | None
) -> None:
    seq = 1 if past else 2
    assert _lists(history(before, here, past, seq, None)) == expected


@pytest.mark.parametrize(
    ("said", "past", "seq", "expected"),
    [
        (_of_generate([1, 2, 3]), 2, 1, [[1, 2, 3]]),
        (_of_generate([1, 2, 3]), 0, 3, [[1, 2, 3]]),
        (_of_generate([5, 6], embedded=2), 3, 1, [[-1, -1, 5, 6]]),  # a prompt of embeddings
        (_of_generate([1, 2, 3]), 0, 2, [[7, 7]]),  # a chunk: what is passed counts
        (Prompts(torch.tensor([1])), 0, 2, [[7, 7]]),
    ],
)
def test_generate_knows_the_tokens(
    said: Prompts, past: int, seq: int, expected: list[list[int]]
) -> None:
    here = torch.full((1, seq), 7)
    assert _lists(history(_t([9, 9, 9]), here, past, seq, said)) == expected


def _select(state: Pass, *spans: Span | None) -> list[Any]:
    selected: Spans = spans
    chosen = state.select(state.slot(selected), CPU)
    assert chosen.shape[-1] == 1
    return chosen.squeeze(-1).int().tolist()


def _begin(state: Pass, given: dict[str, Any], outer: Tensor | None = None) -> None:
    state.begin(given, told(), outer)


def _given(ids: Tensor, **more: Any) -> dict[str, Any]:
    return {"input_ids": ids} | more


def test_each_row_has_its_own_span() -> None:
    state = Pass(rows=3)
    masks = _t([0, 1, 1], [1, 1, 1], [1, 1, 0])
    _begin(state, _given(torch.zeros(3, 3).long(), attention_mask=masks))
    assert _select(state, LAST, None, ALL) == [[0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert _select(state, LAST, LAST, LAST) == [[0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert _select(state, LAST) == [[0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert _select(state, None, None, None) == [[0, 0, 0]] * 3


def test_the_rows_of_an_entry_are_next_to_each_other() -> None:
    state = Pass(rows=2)
    _begin(state, _given(torch.zeros(4, 2).long()))
    assert _select(state, LAST, None) == [[0, 1, 0, 1], [0, 0, 0, 0]]
    assert _select(state, LAST, ALL) == [[0, 1, 0, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("length", [2, torch.tensor(2)])
def test_a_selection_is_worked_out_anew_for_each_pass(length: int | Tensor) -> None:
    state = Pass()
    state.slot((after(7),))
    _begin(state, _given(_t([5, 7], [7, 5])))
    assert _select(state, after(7)) == [[0, 0], [0, 1]]
    cache = _Cache(length)
    state.end(SimpleNamespace(past_key_values=cache))
    _begin(state, _given(_t([5], [7]), past_key_values=cache))
    assert _select(state, after(7)) == [[1], [1]]
    assert _select(state, LAST) == [[0], [0]]
    _begin(state, _given(_t([5, 5], [7, 5])))
    assert _select(state, after(7)) == [[0, 0], [0, 1]]


def test_embeddings_have_no_tokens_unless_the_model_was_given_them() -> None:
    state = Pass()
    state.slot((after(7),))
    _begin(state, {"inputs_embeds": torch.zeros(1, 2, 4)})
    with pytest.raises(DataError, match=r"^span after: the tokens of this pass are not known"):
        _select(state, after(7))
    assert _select(state, LAST) == [[0, 1]]
    # A multimodal model embeds them before its decoder runs.
    _begin(state, {"inputs_embeds": torch.zeros(1, 2, 4)}, _t([7, 5]))
    assert _select(state, after(7)) == [[0, 1]]


def test_prompts_are_told() -> None:
    state = Pass()
    with prompts([1, 2]):
        _begin(state, _given(torch.zeros(2, 3).long()))
    assert _select(state, first(1)) == [[0, 1, 0], [0, 0, 1]]


def test_one_of_the_prepared_masks_is_taken() -> None:
    masks = {"sliding_attention": _t([1, 1]), "full_attention": _t([0, 1])}
    state = Pass()
    _begin(state, _given(torch.zeros(1, 2).long(), attention_mask=masks))
    assert _select(state, ALL) == [[0, 1]]
    del masks["full_attention"]
    _begin(state, _given(torch.zeros(1, 2).long(), attention_mask=masks))
    assert _select(state, ALL) == [[1, 1]]


def test_a_batch_that_is_no_multiple_is_refused() -> None:
    message = "^attach: 2 plans do not divide a batch of 3 rows; give one plan a row, or one for"
    with pytest.raises(DataError, match=message):
        _begin(Pass(rows=2), _given(torch.zeros(3, 2).long()))
