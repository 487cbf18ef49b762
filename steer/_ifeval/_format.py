"""Bullets, titles, highlights, sections, JSON and fixed answers."""

import json
import re

from ._arguments import pattern_of

_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def number_bullet_lists(response: str, *, num_bullets: int) -> bool:
    """Exactly `num_bullets` lines start with `*` or `-`, after white space.

    As in the original, lines starting `**` are none, and rules such as `---` are bullets.
    """
    stars = re.findall(r"^\s*\*[^*].*$", response, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", response, re.MULTILINE)
    return len(stars) + len(dashes) == num_bullets


def constrained_response(response: str) -> bool:
    """The response contains "My answer is yes.", "… no." or "… maybe.".

    As in the original, other text may stand around it and the case must match.
    """
    return any(answer in response for answer in _ANSWERS)


def number_highlighted_sections(response: str, *, num_highlights: int) -> bool:
    """At least `num_highlights` stretches of one line are `*highlighted*` or `**so**`.

    As in the original, stars are paired from the left wherever they come from, so the one of a
    bullet and the one of a product may make a highlight.
    """
    single = re.findall(r"\*[^\n*]*\*", response)
    double = re.findall(r"\*\*[^\n*]*\*\*", response)
    found = sum(1 for text in single + double if text.strip("*").strip())
    return found >= num_highlights


def multiple_sections(response: str, *, section_spliter: str, num_sections: int) -> bool:
    """At least `num_sections` headings: the splitter, in its own case, before a number.

    As in the original, headings may stand anywhere ("see Section 2" is one), in any order, and
    numerals must be digits.
    """
    headings = re.finditer(rf"{pattern_of(section_spliter.strip())}\s?\d+", response)
    return sum(1 for _ in headings) >= num_sections


def json_format(response: str) -> bool:
    """The response, less a code fence around it, is JSON.

    As in the original, a bare number or string is JSON, and so are Python's NaN and Infinity.
    """
    text = response.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):  # the latter of "[[[[…", where the original stops
        return False
    return True


def title(response: str) -> bool:
    """A title in double angular brackets, not blank and within one line."""
    found = re.findall(r"<<[^\n]+>>", response)
    return any(text.lstrip("<").rstrip(">").strip() for text in found)
