"""What a span selects in a pass of `generate`, where that can be said without looking.

While `generate` decodes, every token of a pass is real and comes after the prompt; in a prompt
without padding every token is real. Then nothing has to be worked out on the device, and an edit of
all tokens, or of none, needs no mask.
"""

from collections.abc import Callable
from typing import NamedTuple

from ._spans import Span


class Known(NamedTuple):
    """What is known of a pass without looking at it.

    Attributes:
        first: how many tokens after the prompt its first token is; negative inside the prompt.
        stop: the same for the token after its last one.
        real: whether no token is padding.
    """

    first: int
    stop: int
    real: bool


def settled(span: Span, known: Known) -> bool | None:
    """True if the span selects every token of the pass, False if none, None if it must look."""
    if span.name not in _RULES:
        return None
    return _RULES[span.name](known, *span.args)


def _and(known: Known, a: Span, b: Span) -> bool | None:
    both = settled(a, known), settled(b, known)
    return False if False in both else True if None not in both else None


def _or(known: Known, a: Span, b: Span) -> bool | None:
    both = settled(a, known), settled(b, known)
    return True if True in both else False if None not in both else None


def _not(known: Known, a: Span) -> bool | None:
    inner = settled(a, known)
    return False if inner else _all(known) if inner is False else None


def _all(known: Known) -> bool | None:
    return True if known.real else None


def _prompt(known: Known) -> bool | None:
    return False if known.first >= 0 else _all(known) if known.stop <= 0 else None


def _generated(known: Known) -> bool | None:
    return True if known.first >= 0 else False if known.stop <= 0 else None


def _first(known: Known, n: int) -> bool | None:
    if known.stop <= 0 or known.first >= n:
        return False
    return True if known.first >= 0 and known.stop <= n else None


_RULES: dict[str, Callable[..., bool | None]] = {
    "all": _all,
    "prompt": _prompt,
    "generated": _generated,
    "last": lambda known: False if known.first >= 0 else None,
    "first": _first,
    "and": _and,
    "or": _or,
    "not": _not,
}
