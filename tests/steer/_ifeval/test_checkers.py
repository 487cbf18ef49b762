"""Each instruction with a response that follows it and one that does not, by hand."""

from typing import Any

import pytest

from steer._ifeval import CHECKERS

ENGLISH = "the weather was lovely yesterday, and we walked along the river for several hours."
# langdetect reads no further in a word than its first two capitals, so short words tell it most.
CAPITALS = (
    "THE MAN IS IN THE HOUSE AND HE IS AT THE TOP OF IT AND SO IS SHE, AS ON THE DAY OF THE WAR"
)
GERMAN = "Gestern war das Wetter schön, und wir sind mehrere Stunden am Fluss spazieren gegangen."

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA and ESA agree.",
        "NASA and Esa agree.",
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        "NASA and Esa agree.",
        "NASA and ESA agree.",
    ),
    ("change_case:english_capital", {}, CAPITALS, CAPITALS.replace("HOUSE", "HOUSe")),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.capitalize()),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Name a river.\n"},
        " name a river. The Nile.",
        "Sure. Name a river. The Nile.",
    ),
    ("combination:two_responses", {}, "Tea.\n******\nMilk.", "Tea. ****** Tea."),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        "Dear [name], meet me at [place].",
        "Dear [name], meet me at (place).",
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        "Yours, Ann\n\np. s. Bring tea.",
        "Yours, Ann\n\nPS Bring tea.",
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        "P. P. S. Bring tea.",
        "P.S. Bring tea.",
    ),
    (
        "detectable_format:constrained_response",
        {},
        "Well. My answer is maybe.",
        "My answer is perhaps.",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1, null]}\n```', "{'a': 1}"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\nTea.\nSECTION 2\nMilk.",
        "SECTION 1\nTea.\nSection 2\nMilk.",
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        "Buy:\n* tea\n  - milk",
        "* tea\n* milk\n* eggs",
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "Drink *tea* or **milk**.",
        "Drink *tea* or **.",
    ),
    ("detectable_format:title", {}, "<<Tea>>\nLeaves in water.", "<Tea>\nLeaves in water."),
    ("keywords:existence", {"keywords": ["tea", "cup"]}, "A TEAPOT and a cup.", "A teapot."),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["tea", "cup"]},
        "A teapot, hiccup.",
        "More Tea!",
    ),
    (
        "keywords:frequency",
        {"keyword": " tea ", "frequency": 2, "relation": "at least"},
        "Tea in a teapot.",
        "A teapot.",
    ),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "less than"},
        "A teapot.",
        "Tea in a teapot.",
    ),
    (
        "keywords:letter_frequency",
        {"letter": "T", "let_frequency": 3, "let_relation": "at least"},
        "Tom's teapot",
        "Tom's tea",
    ),
    ("language:response_language", {"language": "de"}, GERMAN, ENGLISH),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Milk"},
        'Tea is hot.\n\n"milk," he said.',
        "Tea is hot.\n\nSome milk.",
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        "Tea.\n***\nMilk.",
        "Tea.\n\nMilk.",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        "Tea? Mr. Lee wants milk. Yes!",
        "Mr. Lee wants milk. Yes!",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 5, "relation": "less than"},
        "We drink tea - often.",
        "We don't drink tea.",  # "don" and "t" are two
    ),
    ("punctuation:no_comma", {}, "Tea; milk", "Tea, milk"),
    (
        "startend:end_checker",
        {"end_phrase": "Any questions?"},
        '"That is all. any questions?"\n',
        "Any questions? No.",
    ),
    ("startend:quotation", {}, ' "Tea." \n', '"Tea." he said'),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_a_checker_tells_what_follows(
    name: str, arguments: dict[str, Any], good: str, bad: str
) -> None:
    assert CHECKERS[name](good, **arguments) is True
    assert CHECKERS[name](bad, **arguments) is False


def test_there_are_25_instructions_and_each_is_tried() -> None:
    assert len(CHECKERS) == 25
    assert {case[0] for case in CASES} == set(CHECKERS)
