"""What the original does and one would not guess."""

from typing import Any

import pytest

from steer._ifeval import CHECKERS

PARAGRAPHS = "length_constraints:number_paragraphs"
NTH = "length_constraints:nth_paragraph_first_word"
SECTIONS = "detectable_format:multiple_sections"
HIGHLIGHTS = "detectable_format:number_highlighted_sections"
BULLETS = "detectable_format:number_bullet_lists"
CAPITALS = "change_case:capital_word_frequency"


@pytest.mark.parametrize(
    ("name", "argument", "response", "count"),
    [
        (PARAGRAPHS, "num_paragraphs", "***\na\n***\nb\n***", 2),  # blank ends do not count
        (PARAGRAPHS, "num_paragraphs", "**a***b", 2),
        (BULLETS, "num_bullets", "* a\n---\n- b", 3),  # a rule is a bullet
        (BULLETS, "num_bullets", "**a**\n1. b\n• c\n* d", 1),
    ],
)
def test_an_exact_count(name: str, argument: str, response: str, count: int) -> None:
    found = [n for n in range(8) if CHECKERS[name](response, **{argument: n})]
    assert found == [count]


@pytest.mark.parametrize(
    ("name", "argument", "others", "response", "count"),
    [
        (SECTIONS, "num_sections", {"section_spliter": " Day "}, "Day1, see Day 12. Days 3", 2),
        (SECTIONS, "num_sections", {"section_spliter": "Section"}, "Section One\nSection\n2", 1),
        (HIGHLIGHTS, "num_highlights", {}, "*a* b *c*", 2),
        (HIGHLIGHTS, "num_highlights", {}, "* a\n* b", 0),  # highlights end with their line
        (HIGHLIGHTS, "num_highlights", {}, "* 2 * 3 = 6", 1),  # the star of a bullet
        (HIGHLIGHTS, "num_highlights", {}, "** ** and ***", 0),
        ("detectable_content:number_placeholders", "num_placeholders", {}, "[[a]] [] [b\n]", 2),
        (CAPITALS, "capital_frequency", {"capital_relation": "at least"}, "I am A1.", 2),
        (CAPITALS, "capital_frequency", {"capital_relation": "at least"}, "STATE-OF-THE-ART", 1),
        (CAPITALS, "capital_frequency", {"capital_relation": "at least"}, "I CANNOT, DON'T", 5),
        ("keywords:frequency", "frequency", {"keyword": "a.", "relation": "at least"}, "ab ac", 2),
        (
            "keywords:letter_frequency",
            "let_frequency",
            {"letter": "#", "let_relation": "at least"},
            "## a #",
            3,
        ),
        (
            "length_constraints:number_words",
            "num_words",
            {"relation": "at least"},
            "well-known: 3.5 snake_case",
            5,
        ),
    ],
)
def test_a_least_count(
    name: str, argument: str, others: dict[str, Any], response: str, count: int
) -> None:
    verdicts = [CHECKERS[name](response, **others, **{argument: n}) for n in range(8)]
    assert verdicts == [n <= count for n in range(8)]


@pytest.mark.parametrize("response", ["a\n***\n\n***\nb", "a******b"])
def test_a_blank_paragraph_in_the_middle_fails(response: str) -> None:
    assert not any(CHECKERS[PARAGRAPHS](response, num_paragraphs=n) for n in range(5))


@pytest.mark.parametrize(
    ("response", "follows"),
    [
        ("Tea.\n\nWeekend's here", True),  # the word ends at the apostrophe
        ("Tea.\n\n'\"weekend", True),
        ("Tea.\n\n\"'weekend", False),  # apostrophes are taken off first, and only once
        ("Tea.\n\n**Weekend**", False),
        ("Tea.\n\nweekend-trips", False),
        ("Tea.\nweekend", False),
        ("Tea.\n\nweekend\n\n", True),  # the blank paragraph is not counted
        ("Tea.\n\n\n\nweekend", False),  # but keeps its place
        ("\n\nweekend\n\nTea.", True),
    ],
)
def test_the_first_word_of_the_nth_paragraph(response: str, follows: bool) -> None:
    given = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Weekend"}
    assert CHECKERS[NTH](response, **given) is follows


@pytest.mark.parametrize("nth", [-1, 0, 3])
def test_a_paragraph_that_cannot_be_fails(nth: int) -> None:
    given = {"num_paragraphs": 2, "nth_paragraph": nth, "first_word": "a"}
    assert not CHECKERS[NTH]("a\n\na", **given)


@pytest.mark.parametrize(
    ("response", "follows"),
    [
        ("a******b", True),
        ("******a******b******", True),
        ("a****** ******b", False),
        ("a******b******c", False),
        ("a***b", False),
        ("a", False),
    ],
)
def test_two_responses(response: str, follows: bool) -> None:
    assert CHECKERS["combination:two_responses"](response) is follows


@pytest.mark.parametrize(
    ("response", "follows"),
    [
        ("3", True),
        ("NaN", True),
        ("```\n[]```", True),
        ("```python\n[]\n```", False),
        ("Here it is:\n{}", False),
        ("```", False),
        ("[" * 100_000, False),  # the original overflows the stack
    ],
)
def test_json(response: str, follows: bool) -> None:
    assert CHECKERS["detectable_format:json_format"](response) is follows


@pytest.mark.parametrize(
    ("response", "follows"),
    [("<<a>>", True), ("<< >>", False), ("<<a\n>>", False), ("cout << a >> b", True)],
)
def test_title(response: str, follows: bool) -> None:
    assert CHECKERS["detectable_format:title"](response) is follows


@pytest.mark.parametrize(
    ("response", "follows"), [('"', False), ('""', True), ("“Tea.”", False), ("'Tea.'", False)]
)
def test_quotation(response: str, follows: bool) -> None:
    assert CHECKERS["startend:quotation"](response) is follows


def test_a_keyword_that_is_no_pattern_stands_for_itself() -> None:
    assert CHECKERS["keywords:existence"]("A smile :( here", keywords=[":("])
    assert not CHECKERS["keywords:existence"]("A smile :) here", keywords=[":("])


def test_a_postscript_with_a_marker_of_its_own() -> None:
    given = {"postscript_marker": " Note: "}
    assert CHECKERS["detectable_content:postscript"]("NOTE: tea", **given)
    assert not CHECKERS["detectable_content:postscript"]("Bye. Not: tea", **given)


def test_constrained_responses_are_told_by_case() -> None:
    assert not CHECKERS["detectable_format:constrained_response"]("my answer is yes.")
    assert not CHECKERS["detectable_format:constrained_response"]("My answer is yes")


def test_quotation_marks_after_the_end_phrase_are_let_off_but_nothing_else() -> None:
    end = CHECKERS["startend:end_checker"]
    assert end('So. Bye."" ', end_phrase=" bye. ")
    assert not end("So. Bye.*", end_phrase="Bye.")
