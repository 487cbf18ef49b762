import pytest
import torch

from steer.hooks import ALL, GENERATED, LAST, PROMPT, PlanError, Span, Tokens

# One row a letter: P prompt, G generated, . padding; the second line says what a span selects.
LEFT = "..PPPGG"
RIGHT = "PPPGG.."
NO_PROMPT = ".GGGGGG"
ONE = "PGGGGGG"
ALL_PROMPT = "PPPPPPP"
NOTHING = "......."
TABLE = {
    LEFT: {"all": "0011111", "prompt": "0011100", "generated": "0000011", "last": "0000100"},
    RIGHT: {"all": "1111100", "prompt": "1110000", "generated": "0001100", "last": "0010000"},
    NO_PROMPT: {"all": "0111111", "prompt": "0000000", "generated": "0111111", "last": "0000000"},
    ONE: {"all": "1111111", "prompt": "1000000", "generated": "0111111", "last": "1000000"},
    ALL_PROMPT: {"all": "1" * 7, "prompt": "1" * 7, "generated": "0" * 7, "last": "0000001"},
    NOTHING: dict.fromkeys(("all", "prompt", "generated", "last"), "0" * 7),
}


def _tokens(rows: list[str]) -> Tokens:
    real = torch.tensor([[letter != "." for letter in row] for row in rows])
    lengths = torch.tensor([[row.count("P")] for row in rows])
    return Tokens(real, real.cumsum(1) - 1, lengths)


@pytest.mark.parametrize("name", ["all", "prompt", "generated", "last"])
def test_each_span_selects_by_hand(name: str) -> None:
    selected = Span(name)(_tokens(list(TABLE)))
    assert ["".join(str(int(x)) for x in row) for row in selected.tolist()] == [
        spans[name] for spans in TABLE.values()
    ]


@pytest.mark.parametrize("span", [ALL, PROMPT, GENERATED, LAST])
def test_padding_is_never_selected(span: Span) -> None:
    tokens = _tokens(list(TABLE))
    assert not (span(tokens) & ~tokens.real).any()


def test_a_decoding_step_is_generated_and_nothing_else() -> None:
    # Prompts of 4 and 2 tokens; the pass holds each row's third new token.
    step = Tokens(torch.ones(2, 1).bool(), torch.tensor([[6], [4]]), torch.tensor([[4], [2]]))
    assert ALL(step).tolist() == GENERATED(step).tolist() == [[True], [True]]
    assert PROMPT(step).tolist() == LAST(step).tolist() == [[False], [False]]


def test_a_chunk_of_a_prompt_knows_the_last_token() -> None:
    # Tokens 3 and 4 of prompts with 5 and 4 tokens.
    chunk = Tokens(
        torch.ones(2, 2).bool(), torch.tensor([[3, 4], [3, 4]]), torch.tensor([[5], [4]])
    )
    assert PROMPT(chunk).tolist() == [[True, True], [True, False]]
    assert LAST(chunk).tolist() == [[False, True], [True, False]]
    assert GENERATED(chunk).tolist() == [[False, False], [False, True]]


def test_spans_are_values() -> None:
    assert str(LAST) == "last"
    assert {Span("all"), ALL, PROMPT} == {ALL, PROMPT}


def test_an_unknown_span_is_refused() -> None:
    message = "Span: unknown span 'first'; expected all, prompt, generated, last"
    with pytest.raises(PlanError, match=message):
        Span("first")
