"""What the arguments of checkers mean."""

import re

from steer.hooks import DataError

_RELATIONS = ("at least", "less than")


def holds(count: int, relation: str, bound: int) -> bool:
    """Whether `count` is at least, or less than, `bound`.

    Raises:
        DataError: for any other relation.
    """
    if relation not in _RELATIONS:
        raise DataError(
            f"ifeval: unknown relation {relation!r}; write {' or '.join(map(repr, _RELATIONS))}"
        )
    return count >= bound if relation == "at least" else count < bound


def pattern_of(text: str) -> str:
    """The text as a regular expression, which the original takes words for.

    What is no regular expression, such as "(", raises there; here it stands for itself.
    """
    try:
        re.compile(text)
    except re.error:
        return re.escape(text)
    return text
