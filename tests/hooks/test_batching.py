from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer.hooks import by_tokens


@pytest.mark.parametrize(
    ("lengths", "budget", "batches"),
    [
        ([], 10, []),
        ([3], 10, [[0]]),
        ([2, 5, 5, 1, 3], 10, [[1, 2], [4, 0, 3]]),  # 2 x 5, then 3 x 3
        ([4, 4, 4], 11, [[0, 1], [2]]),
        ([20, 3, 30], 10, [[2], [0], [1]]),  # too long rows go alone
        ([1, 1, 1], 2, [[0, 1], [2]]),
        ([5, 5], 1, [[0], [1]]),
    ],
)
def test_batches_by_hand(lengths: list[int], budget: int, batches: list[list[int]]) -> None:
    assert by_tokens(lengths, budget) == batches


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 120))
def test_batches_keep_their_promises(lengths: list[int], budget: int) -> None:
    batches = by_tokens(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    flat = [lengths[i] for batch in batches for i in batch]
    assert flat == sorted(lengths, reverse=True)
    for batch in batches:
        width = max(lengths[i] for i in batch)
        assert len(batch) * width <= budget or len(batch) == 1
    for batch, later in pairwise(batches):
        width = max(1, *(lengths[i] for i in batch))
        assert later, "an empty batch"
        assert (len(batch) + 1) * width > budget, "a batch was closed while there was room"


def test_a_batch_with_much_padding_is_closed_once_it_is_large_enough() -> None:
    lengths = [40, 39, 20, 20, 10]
    # Three of 40 would pad 21 of 120, but 79 are too few of 400 to close a batch.
    assert by_tokens(lengths, 400, spare=0.1) == [[0, 1, 2], [3, 4]]
    assert by_tokens(lengths, 300, spare=0.1) == [[0, 1], [2, 3, 4]]
    assert by_tokens(lengths, 400) == [[0, 1, 2, 3, 4]]
