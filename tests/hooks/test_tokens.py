import re
from typing import Any

import pytest
import torch
from torch import Tensor

from steer.hooks import DataError, Tokens


def _place(
    batch: int,
    seq: int,
    *,
    past: int = 0,
    mask: Tensor | None = None,
    prompts: list[int] | None = None,
) -> dict[str, Any]:
    """Positions of the real tokens (None for padding) and prompt lengths, as lists."""
    lengths = None if prompts is None else torch.tensor(prompts)
    tokens = Tokens.of_pass((batch, seq), torch.device("cpu"), past, mask, lengths)
    places = [
        [p if r else None for p, r in zip(ps, rs, strict=True)]
        for ps, rs in zip(tokens.position.tolist(), tokens.real.tolist(), strict=True)
    ]
    return {"places": places, "prompts": tokens.prompt_length.flatten().tolist()}


LEFT = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
RIGHT = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
N = None


def test_without_a_mask_every_token_is_real() -> None:
    assert _place(2, 3) == {"places": [[0, 1, 2], [0, 1, 2]], "prompts": [3, 3]}


@pytest.mark.parametrize(
    ("mask", "places"),
    [(LEFT, [[N, N, 0, 1], [0, 1, 2, 3]]), (RIGHT, [[0, 1, N, N], [0, 1, 2, 3]])],
)
@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
def test_padding_is_skipped(mask: Tensor, places: list[Any], dtype: torch.dtype) -> None:
    assert _place(2, 4, mask=mask.to(dtype)) == {"places": places, "prompts": [2, 4]}


@pytest.mark.parametrize("mask", [LEFT, RIGHT])
def test_a_decoding_step_counts_the_cache(mask: Tensor) -> None:
    # Two tokens generated already, the pass holds the third: rows hold 2 + 2 and 4 + 2 real ones.
    mask = torch.cat([mask, torch.ones(2, 3, dtype=torch.long)], dim=1)
    assert _place(2, 1, past=6, mask=mask, prompts=[2, 4]) == {
        "places": [[4], [6]],
        "prompts": [2, 4],
    }


def test_without_prompts_a_filled_cache_is_the_prompt() -> None:
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    assert _place(2, 2, past=3, mask=mask) == {"places": [[2, 3], [3, 4]], "prompts": [2, 3]}
    assert _place(1, 2, past=3) == {"places": [[3, 4]], "prompts": [3]}


def test_a_chunk_may_be_padding_in_part() -> None:
    # The second chunk of two; the prompt of the first row begins inside it.
    mask = torch.tensor([[0, 0, 0, 1], [0, 1, 1, 1]])
    assert _place(2, 2, past=2, mask=mask, prompts=[1, 3]) == {
        "places": [[N, 0], [1, 2]],
        "prompts": [1, 3],
    }


def test_a_mask_wider_than_the_pass_is_cut() -> None:
    # A static cache brings one mask for every token that it has room for.
    mask = torch.tensor([[0, 1, 1, 0, 0, 0]])
    assert _place(1, 1, past=2, mask=mask, prompts=[2]) == {"places": [[1]], "prompts": [2]}


def test_a_mask_of_one_row_holds_for_all() -> None:
    assert _place(2, 3, mask=torch.tensor([[0, 1, 1]])) == {
        "places": [[N, 0, 1], [N, 0, 1]],
        "prompts": [2, 2],
    }


def _square(rows: list[str], seq: int) -> Tensor:
    """Causal attention of the last `seq` tokens over all those that are not padding (a dot)."""
    total = len(rows[0])
    seen = [
        [
            [row[key] != "." and key <= total - seq + query for key in range(total)]
            for query in range(seq)
        ]
        for row in rows
    ]
    return torch.tensor(seen).unsqueeze(1)


@pytest.mark.parametrize("kind", ["bool", "lowest", "infinite"])
@pytest.mark.parametrize(
    ("rows", "past", "places", "prompts"),
    [
        (["..xx", "xxxx"], 0, [[N, N, 0, 1], [0, 1, 2, 3]], [2, 4]),
        (["xx..", "xxxx"], 0, [[0, 1, N, N], [0, 1, 2, 3]], [2, 4]),
        (["..xxx", "xxxxx"], 4, [[2], [4]], [2, 4]),
        (["...xxx", ".xxxxx"], 3, [[0, 1, 2], [2, 3, 4]], [0, 2]),
    ],
)
def test_a_prepared_mask_says_the_same(
    kind: str, rows: list[str], past: int, places: list[Any], prompts: list[int]
) -> None:
    square = _square(rows, len(rows[0]) - past)
    if kind != "bool":
        low = torch.finfo(torch.float32).min if kind == "lowest" else -torch.inf
        square = torch.zeros(square.shape).masked_fill(~square, low)
    found = _place(len(rows), len(rows[0]) - past, past=past, mask=square)
    assert found == {"places": places, "prompts": prompts}


def test_a_prepared_mask_may_be_wider_than_the_pass() -> None:
    square = torch.nn.functional.pad(_square([".xx"], 3), (0, 5), value=False)
    assert _place(1, 3, mask=square)["places"] == [[N, 0, 1]]


def test_a_prompt_has_several_rows() -> None:
    # Two prompts with three beams each, next to each other.
    assert _place(6, 1, past=5, prompts=[3, 5])["prompts"] == [3, 3, 3, 5, 5, 5]
    assert _place(2, 2, prompts=[1])["prompts"] == [1, 1]


def test_rows_that_are_no_multiple_of_the_prompts_are_refused() -> None:
    message = "attach: 2 prompt lengths do not divide a batch of 3 rows; give one length per prompt"
    with pytest.raises(DataError, match=message):
        _place(3, 2, prompts=[1, 2])


@pytest.mark.parametrize("mask", [torch.ones(1, 1), torch.ones(1, 1, 1, 4, dtype=torch.bool)])
def test_a_mask_that_is_too_short_is_refused(mask: Tensor) -> None:
    message = (
        f"attach: the attention mask covers {mask.shape[-1]} tokens, but the pass ends at token 5; "
        "pass a mask over the cached and the new tokens together"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        _place(1, 1, past=4, mask=mask)
