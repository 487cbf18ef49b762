"""Placeholders and postscripts."""

import re

from ._arguments import pattern_of

_POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}


def number_placeholders(response: str, *, num_placeholders: int) -> bool:
    """At least `num_placeholders` pairs of square brackets, each within one line."""
    return len(re.findall(r"\[.*?\]", response)) >= num_placeholders


def postscript(response: str, *, postscript_marker: str) -> bool:
    """The marker occurs, in any case.

    As in the original, it may stand anywhere, inside a line too; "P.S." and "P.P.S" allow a space
    after each stop; any other marker is a regular expression.
    """
    marker = postscript_marker.strip()
    wanted = _POSTSCRIPTS.get(marker) or pattern_of(marker.lower())
    return re.search(wanted, response.lower()) is not None
