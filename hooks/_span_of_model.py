"""Turns the parts of a span that only a model knows into token ids."""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

from ._errors import PlanError
from ._spans import Span, any_of

_IMAGE = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")


def resolved(span: Span, config: Any, tokenizer: Any) -> Span:
    """The span with texts, `image` and `text` replaced by token ids.

    Raises:
        PlanError: if the model reads no images, or has no tokenizer, and the span needs it.
    """

    def lookup(part: Span) -> Span:
        if part.name in ("image", "text"):
            image = any_of(_image_tokens(config, part))
            return image if part.name == "image" else ~image
        if any(isinstance(arg, str) for arg in part.args):
            return _by_ids(part, tokenizer)
        return part

    return span.resolved(lookup)


def _image_tokens(config: Any, span: Span) -> list[int]:
    found = [getattr(config, name, None) for name in _IMAGE]
    ids = [int(token) for token in found if token is not None]
    if not ids:
        raise PlanError(
            f"span {span}: {type(config).__name__} names no image token; the span is for models "
            "that read images"
        )
    return ids


def _by_ids(span: Span, tokenizer: Any) -> Span:
    """The span for a text, as it is split at the start of a word and inside one."""
    if tokenizer is None:
        raise PlanError(f"span {span}: no tokenizer to split the text; give token ids instead")
    ways = {tuple(_ids(span.args, tokenizer, lead)) for lead in ("", " ")}
    if () in ways:
        raise PlanError(f"span {span}: the tokenizer makes no token of the text")
    first, *rest = (Span(span.name, way) for way in sorted(ways))
    return reduce(or_, rest, first)


def _ids(args: tuple[int | str, ...], tokenizer: Any, lead: str) -> Iterator[int]:
    for n, arg in enumerate(args):
        if isinstance(arg, str):
            text = arg if n else lead + arg
            yield from tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            yield arg
