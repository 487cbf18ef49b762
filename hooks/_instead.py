"""Puts something in place of a method of one object, for as long as a block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NONE = object()


@contextmanager
def instead(owner: Any, name: str, method: Any) -> Iterator[None]:
    """Let `owner.name` be `method`; afterwards it is what it was, the class's own included."""
    held = owner.__dict__.get(name, _NONE)
    owner.__dict__[name] = method
    try:
        yield
    finally:
        if held is _NONE:
            del owner.__dict__[name]
        else:
            owner.__dict__[name] = held
