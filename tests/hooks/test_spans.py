import math
from typing import Any

import pytest
import torch
from torch import Tensor

import onerow
from steer.hooks import (
    ALL,
    GENERATED,
    IMAGE,
    LAST,
    PROMPT,
    TEXT,
    DataError,
    PlanError,
    Span,
    Tokens,
    after,
    any_of,
    first,
    masked,
    positions,
)

# One row a layout (P prompt, G generated, . padding), with the token ids, padding's too.
LAYOUTS = {
    "..PPPGGGG": "781278378",
    "PPP..GGGG": "127888378",
    "PPPGGGG..": "127837878",
    "PPPPPGGGG": "781781239",
    "PPPPPPPPP": "123456912",
    ".........": "787878787",
    ".GGGGGGGG": "776543278",
}
WIDTH = 9
NONE = "000000000"
# What each span selects in these rows, by hand.
TABLE: list[tuple[Span, list[str]]] = [
    (ALL, ["001111111", "111001111", "111111100", "1" * 9, "1" * 9, NONE, "011111111"]),
    (PROMPT, ["001110000", "111000000", "111000000", "111110000", "1" * 9, NONE, NONE]),
    (GENERATED, ["000001111", "000001111", "000111100", "000001111", NONE, NONE, "011111111"]),
    (LAST, ["000010000", "001000000", "001000000", "000010000", "000000001", NONE, NONE]),
    (first(1), ["000001000", "000001000", "000100000", "000001000", NONE, NONE, "010000000"]),
    (first(2), ["000001100", "000001100", "000110000", "000001100", NONE, NONE, "011000000"]),
    (first(99), ["000001111", "000001111", "000111100", "000001111", NONE, NONE, "011111111"]),
    (positions(), ["001111111", "111001111", "111111100", "1" * 9, "1" * 9, NONE, "011111111"]),
    (positions(1, 3), ["000110000", *["011000000"] * 4, NONE, "001100000"]),
    (
        positions(2, 5),
        ["000011100", "001001100", *["001110000"] * 3, NONE, "000111000"],
    ),
    (
        positions(4),
        ["000000111", "000000111", "000011100", "000011111", "000011111", NONE, "000001111"],
    ),
    (
        positions(-2),
        ["000111111", "011001111", "011111100", "000111111", "000000011", NONE, "011111111"],
    ),
    (
        positions(-2, -1),
        ["000100000", "010000000", "010000000", "000100000", "000000010", NONE, NONE],
    ),
    (
        positions(stop=-1),
        ["001100000", "110000000", "110000000", "111100000", "111111110", NONE, NONE],
    ),
    (positions(-99, 2), ["001100000", *["110000000"] * 4, NONE, "011000000"]),
    (
        positions(-2) & PROMPT,
        ["000110000", *["011000000"] * 2, "000110000", "000000011", NONE, NONE],
    ),
    (
        after(7),
        ["000001111", "000001111", "000111100", "011111111", NONE, NONE, "001111111"],
    ),
    (after(9), [NONE, NONE, NONE, NONE, "000000011", NONE, NONE]),
    # It straddles the prompt and the answer, with padding between in the second row.
    (
        after([7, 8]),
        ["000000111", "000000111", "000011100", "001111111", NONE, NONE, NONE],
    ),
    (after([3, 7, 8]), [NONE] * 7),
    (after([8, 3]), ["000000011", "000000011", "000001100", NONE, NONE, NONE, NONE]),
    (after([1, 7, 8]), [NONE, NONE, NONE, "000001111", NONE, NONE, NONE]),
    (after(list(range(1, 12))), [NONE] * 7),
    (
        any_of([7, 8]),
        ["000011011", "001001011", "001101100", "110110000", NONE, NONE, "010000011"],
    ),
    (any_of(0), [NONE] * 7),
    (~PROMPT, ["000001111", "000001111", "000111100", "000001111", NONE, NONE, "011111111"]),
    (
        ~(LAST | first(1)),
        ["001100111", "110000111", "110011100", "111100111", "111111110", NONE, "001111111"],
    ),
    (
        ~after(7) & ~any_of([1, 2]),
        ["000010000", "001000000", "001000000", "100000000", "001111100", NONE, "010000000"],
    ),
    (
        any_of(3) | LAST,
        ["000010100", "001000100", "001010000", "000010010", "001000001", NONE, "000001000"],
    ),
]
SPLITS = [[9], [5, 4], [3, 1, 5], [8, 1], [1] * 9]


def _passes(split: list[int], *, known: bool = True) -> list[Tokens]:
    """The passes that feed the rows in pieces of these sizes to a cache."""
    mask = torch.tensor([[letter != "." for letter in row] for row in LAYOUTS])
    ids = torch.tensor([[int(token) for token in row] for row in LAYOUTS.values()])
    lengths = torch.tensor([row.count("P") for row in LAYOUTS])
    made, past = [], 0
    for seq in split:
        end = past + seq
        shape, seen = (len(LAYOUTS), seq), ids[:, :end] if known else None
        made.append(Tokens.of_pass(shape, ids.device, past, mask[:, :end], lengths, seen))
        past = end
    return made


def _selected(span: Span, split: list[int]) -> list[str]:
    whole = torch.cat([span(tokens) for tokens in _passes(split)], dim=1)
    return ["".join(str(int(x)) for x in row) for row in whole.tolist()]


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize(("span", "rows"), TABLE, ids=[str(span) for span, _ in TABLE])
def test_each_span_selects_by_hand(span: Span, rows: list[str], split: list[int]) -> None:
    assert _selected(span, split) == rows


@pytest.mark.parametrize("span", [~LAST, ~after(7), ~~ALL, ~masked(torch.zeros(7, 9).bool())])
def test_padding_is_never_selected(span: Span) -> None:
    for tokens in _passes([4, 5]):
        assert not (span(tokens) & ~tokens.real).any()


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_a_mask_selects_its_tokens_padding_excepted(split: list[int]) -> None:
    mask = torch.zeros(7, 6).bool()  # three columns less than the rows have
    mask[0, [0, 3]] = mask[1, 2:6] = mask[4, 5] = mask[5] = True
    assert _selected(masked(mask), split) == [
        "000100000",
        "001001000",
        NONE,
        NONE,
        "000001000",
        NONE,
        NONE,
    ]


def _everything(batch: int, seq: int, past: int = 0) -> Tokens:
    return Tokens.of_pass((batch, seq), torch.device("cpu"), past, None, None)


def test_a_row_of_a_mask_is_for_rows_next_to_each_other() -> None:
    mask = torch.tensor([[True, False, True], [False, True, True]])
    assert masked(mask)(_everything(4, 2)).int().tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert masked(mask)(_everything(4, 2, past=2)).int().tolist() == [[1, 0]] * 4
    with pytest.raises(DataError, match=r"^span masked: a mask of 2 rows does not divide .* 3$"):
        masked(mask)(_everything(3, 2))


def test_the_callers_mask_is_a_separate_one() -> None:
    mine = torch.ones(1, 2).bool()
    span = masked(mine)
    mine.zero_()
    assert span(_everything(1, 2)).tolist() == [[True, True]]
    assert span == span
    assert span != masked(torch.ones(1, 2).bool())
    assert len((LAST | ~span).masks) == 1


@pytest.mark.parametrize("span", [after(7), any_of([7, 8]), LAST | ~after([7, 8])])
def test_tokens_that_are_not_known_are_missed(span: Span) -> None:
    message = r"^span (after|any_of): the tokens of this pass are not known; run the whole row"
    with pytest.raises(DataError, match=message):
        span(_passes([9], known=False)[0])
    assert span.looks_at_tokens
    assert not (LAST | ~first(2) & positions(1)).looks_at_tokens


@pytest.mark.parametrize("span", [IMAGE, TEXT, ~IMAGE])
def test_images_need_a_model(span: Span) -> None:
    with pytest.raises(DataError, match=r"^span: image and text need a model that reads images"):
        span(_passes([9])[0])


def test_a_decoding_step_is_generated_and_nothing_else() -> None:
    # Prompts of 4 and 2 tokens; the pass holds each row's third new token.
    step = Tokens(torch.ones(2, 1).bool(), torch.tensor([[6], [4]]), torch.tensor([[4], [2]]))
    assert ALL(step).tolist() == GENERATED(step).tolist() == [[True], [True]]
    assert PROMPT(step).tolist() == LAST(step).tolist() == [[False], [False]]
    assert first(2)(step).tolist() == [[False], [False]]
    assert first(3)(step).tolist() == [[True], [True]]


def test_spans_are_values() -> None:
    assert str(LAST) == "last"
    assert {Span("all"), ALL, PROMPT} == {ALL, PROMPT}
    assert after(7) == after([7]) != any_of(7)
    assert LAST & ~PROMPT == LAST & ~PROMPT != ~PROMPT & LAST


@pytest.mark.parametrize(("name", "args"), [("first", ()), ("end", ()), ("all", (3,)), ("", ())])
def test_an_unknown_span_is_refused(name: str, args: tuple[int, ...]) -> None:
    message = f"^Span: unknown span '{name}'; expected all, prompt, generated, last, image, text, a"
    with pytest.raises(PlanError, match=message):
        Span(name, args)


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "2", None])
def test_a_wrong_number_of_first_tokens_is_refused(n: Any) -> None:
    with onerow.unchecked(), pytest.raises(PlanError, match="^first: expected a number of tokens"):
        first(n)


@pytest.mark.parametrize("ends", [(1.0,), ("1",), (None, True), (0, math.inf)])
def test_a_wrong_position_is_refused(ends: tuple[Any, ...]) -> None:
    with onerow.unchecked(), pytest.raises(PlanError, match="^positions: expected integers, got "):
        positions(*ends)


@pytest.mark.parametrize("make", [after, any_of])
@pytest.mark.parametrize("marker", ["", [], True, 1.5, None, ["a", "b"], [1.5], [True], -1, [-1]])
def test_a_wrong_marker_is_refused(make: Any, marker: Any) -> None:
    with onerow.unchecked(), pytest.raises(PlanError, match=f"^{make.__name__}: expected a token"):
        make(marker)


@pytest.mark.parametrize("mask", [torch.ones(2, 2), torch.ones(2).bool(), [[True]]])
def test_a_wrong_mask_is_refused(mask: Tensor | list[list[bool]]) -> None:
    message = r"^masked: expected a boolean tensor of shape \(rows, width\)$"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        masked(mask)  # type: ignore[arg-type]
