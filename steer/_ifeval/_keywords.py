"""Words and letters that a response must, or must not, contain."""

import re
from collections.abc import Sequence

from ._arguments import holds, pattern_of


def existence(response: str, *, keywords: Sequence[str]) -> bool:
    """Every keyword occurs, in any case and also inside a longer word, as in the original."""
    return all(re.search(pattern_of(word), response, re.IGNORECASE) for word in keywords)


def frequency(response: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword occurs at least, or less than, `frequency` times.

    Any case counts, and so do occurrences inside longer words: "war" is twice in "Warm war".
    """
    found = re.findall(pattern_of(keyword.strip()), response, re.IGNORECASE)
    return holds(len(found), relation, frequency)


def forbidden_words(response: str, *, forbidden_words: Sequence[str]) -> bool:
    """No forbidden word occurs as a whole word, in any case; "warm" does not break "war"."""
    return not any(
        re.search(rf"\b{pattern_of(word)}\b", response, re.IGNORECASE) for word in forbidden_words
    )


def letter_frequency(response: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter occurs at least, or less than, `let_frequency` times, in either case.

    Two rows of the data ask for "#" and "!". The original draws a random letter in their place,
    anew at every call, which nobody could repeat; here the character asked for is counted.
    """
    count = response.lower().count(letter.strip().lower())
    return holds(count, let_relation, let_frequency)
