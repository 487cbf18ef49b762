import threading
from typing import Any

import pytest
import torch

import onerow
import tiny
from steer.hooks import DataError, Model, add, attach, prompts, resid_post


def _selected(model: Model, span: str) -> list[list[int]]:
    """Which tokens of two rows of four and three an attached plan edits."""
    batch = model.batch([[5, 6, 7, 8], [9, 10, 11]])
    base = model.hf(**batch, output_hidden_states=True).hidden_states[2]
    with attach(model, add(resid_post(1), tiny.vector(), span=span)):
        steered = model.hf(**batch, output_hidden_states=True).hidden_states[2]
    moved = (steered != base).any(-1)
    return [row.nonzero().flatten().tolist() for row in moved]


def test_lengths_hold_inside_and_nest(model: Model) -> None:
    # Rows are padded on the left, so the second begins at index 1.
    assert _selected(model, "last") == [[3], [3]]
    with prompts([1, 2]):
        assert _selected(model, "last") == [[0], [2]]
        assert _selected(model, "generated") == [[1, 2, 3], [3]]
        with prompts(torch.tensor([3, 1])):
            assert _selected(model, "prompt") == [[0, 1, 2], [1]]
        assert _selected(model, "prompt") == [[0], [1, 2]]
    assert _selected(model, "generated") == [[], []]


def test_one_length_serves_all_rows(model: Model) -> None:
    with prompts([2]):
        assert _selected(model, "prompt") == [[0, 1], [1, 2]]
    with prompts([0]):
        assert _selected(model, "last") == [[], []]


def test_lengths_are_forgotten_after_an_error(model: Model) -> None:
    with pytest.raises(RuntimeError, match="stop"), prompts([1, 1]):
        raise RuntimeError("stop")
    assert _selected(model, "prompt") == [[0, 1, 2, 3], [1, 2, 3]]


def test_lengths_do_not_leak_into_other_threads(model: Model) -> None:
    found: list[list[list[int]]] = []
    with prompts([1, 1]):
        thread = threading.Thread(target=lambda: found.append(_selected(model, "prompt")))
        thread.start()
        thread.join()
    assert found == [[[0, 1, 2, 3], [1, 2, 3]]]


def test_lengths_that_do_not_divide_the_batch_are_refused(model: Model) -> None:
    message = "3 prompt lengths do not divide a batch of 2 rows"
    with prompts([1, 1, 1]), pytest.raises(DataError, match=message):
        _selected(model, "prompt")


WRONG = [[], [1, -1], torch.tensor(3), torch.ones(2, 2).long(), "abc", [1.5], [True], None]


@pytest.mark.parametrize("lengths", WRONG)
def test_wrong_lengths_are_refused(lengths: Any) -> None:
    message = "^prompts: expected one length >= 0 a prompt, got "
    with onerow.unchecked(), pytest.raises(DataError, match=message), prompts(lengths):
        raise AssertionError("entered")
