import json
from pathlib import Path
from typing import Any

import pytest

from steer._ifeval import CHECKERS, check, follows
from steer.hooks import DataError

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "ifeval.jsonl"
PROMPT = "Write a line."
END = {"end_phrase": "Bye."}


def ends(response: str, loose: bool) -> bool:
    return follows("startend:end_checker", END, PROMPT, response, loose=loose)


@pytest.mark.parametrize("response", ["", " \n\t"])
@pytest.mark.parametrize("loose", [False, True])
def test_a_blank_response_follows_nothing(response: str, loose: bool) -> None:
    assert CHECKERS["punctuation:no_comma"](response)
    assert not follows("punctuation:no_comma", {}, PROMPT, response, loose=loose)


@pytest.mark.parametrize(
    ("name", "arguments", "response"),
    [
        ("startend:quotation", {}, 'Sure:\n"Tea."'),  # without the first line
        ("startend:quotation", {}, '"Tea."\nEnjoy!'),  # without the last
        ("startend:quotation", {}, 'Sure:\n"Tea."\nEnjoy!'),  # without both
        ("startend:quotation", {}, '**"Tea."**'),  # without asterisks
        ("startend:quotation", {}, '*Sure:*\n*"Tea."*'),
        ("startend:quotation", {}, '*"Tea."*\n*Enjoy!*'),
        ("startend:quotation", {}, '*Sure:*\n*"Tea."*\n*Enjoy!*'),
        ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "- a\n- b"),
    ],
)
def test_loosened_responses(name: str, arguments: dict[str, Any], response: str) -> None:
    assert not follows(name, arguments, PROMPT, response)
    assert follows(name, arguments, PROMPT, response, loose=True)


@pytest.mark.parametrize(
    "response", ['Sure:\nso:\n"Tea."', '"Tea."\n\nEnjoy!\nBye!', '__"Tea."__', 'Sure: "Tea."']
)
def test_no_more_than_one_line_at_each_end_and_asterisks_go(response: str) -> None:
    assert not follows("startend:quotation", {}, PROMPT, response, loose=True)


def test_what_follows_strictly_follows_loosely() -> None:
    # Every loosened variant of it breaks the instruction: it has but one line, in asterisks.
    one = ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, PROMPT, "*tea*")
    assert follows(*one)
    assert follows(*one, loose=True)


def test_a_line_cut_off_may_leave_nothing_that_follows() -> None:
    # Without its only line a response is blank, which would be without a comma.
    assert not follows("punctuation:no_comma", {}, PROMPT, "a, b", loose=True)


def test_a_row_is_checked_instruction_by_instruction() -> None:
    names = ["punctuation:no_comma", "startend:end_checker", "startend:quotation"]
    kwargs: list[dict[str, Any]] = [{}, END, {"end_phrase": None}]
    response = 'Sure, so:\n"So, bye."'
    assert check(names, kwargs, PROMPT, response) == [False, True, False]
    assert check(names, kwargs, PROMPT, response, loose=True) == [False, True, True]
    assert check([], [], PROMPT, response) == []


def test_none_stands_for_an_unused_argument() -> None:
    given = {**END, "num_words": None, "keywords": None}
    assert follows("startend:end_checker", given, PROMPT, "Bye.")
    assert ends("Bye.", loose=False)


def test_an_unknown_instruction_is_named_with_those_known() -> None:
    with pytest.raises(DataError, match=r"'keywords:rhyme' in the row 'Write a line\.'") as error:
        check(["keywords:rhyme"], [{}], PROMPT, "Tea.")
    assert all(name in str(error.value) for name in CHECKERS)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ({}, "none"),
        ({"num_words": 3}, "num_words"),
        ({"num_words": 3, "relation": None}, "num_words"),
        ({"num_words": 3, "relation": "at least", "letter": "a"}, "num_words, relation, letter"),
    ],
)
def test_arguments_must_be_those_of_the_checker(arguments: dict[str, Any], got: str) -> None:
    wanted = f"number_words takes num_words, relation, but got {got} in the row 'Write a line.'"
    with pytest.raises(DataError, match=wanted):
        check(["length_constraints:number_words"], [arguments], PROMPT, "Tea.")


def test_a_checker_without_arguments_says_so() -> None:
    with pytest.raises(DataError, match="takes no arguments, but got letter"):
        follows("punctuation:no_comma", {"letter": "a"}, PROMPT, "Tea.")


def test_a_prompt_to_repeat_must_be_given() -> None:
    with pytest.raises(DataError, match="repeat_prompt takes prompt_to_repeat, but got none"):
        follows("combination:repeat_prompt", {}, PROMPT, PROMPT)


def test_each_instruction_needs_its_arguments() -> None:
    with pytest.raises(DataError, match=r"1 instruction\(s\) but 2 set\(s\) of arguments"):
        check(["punctuation:no_comma"], [{}, {}], PROMPT, "Tea.")


def test_long_prompts_are_quoted_in_part() -> None:
    with pytest.raises(DataError, match=f"row '{'x' * 59}…'; known"):
        check(["rhyme"], [{}], "x" * 61, "Tea.")


@pytest.mark.parametrize("name", ["keywords:frequency", "length_constraints:number_sentences"])
def test_an_unknown_relation_is_named_with_those_known(name: str) -> None:
    counts = {"keyword": "a", "frequency": 1} if "key" in name else {"num_sentences": 1}
    with pytest.raises(DataError, match="'at most'; write 'at least' or 'less than'"):
        follows(name, {**counts, "relation": "at most"}, PROMPT, "Tea.")


@pytest.mark.skipif(not DATA.exists(), reason="the shared IFEval rows are not beside the checkout")
def test_every_row_of_the_data_is_accepted() -> None:
    lines = DATA.read_text(encoding="utf-8").splitlines()
    seen = set()
    for row in map(json.loads, lines):
        names, kwargs, prompt = row["instruction_id_list"], row["kwargs"], row["prompt"]
        for loose in (False, True):
            assert len(check(names, kwargs, prompt, "Tea.", loose=loose)) == len(names)
        seen |= set(names)
    assert len(lines) == 541
    assert seen == set(CHECKERS)
