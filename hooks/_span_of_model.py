"""Turns the parts of a span that only a model knows into token ids."""

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
            return Span(part.name, _ids(part, tokenizer))
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


def _ids(span: Span, tokenizer: Any) -> tuple[int, ...]:
    if tokenizer is None:
        raise PlanError(f"span {span}: no tokenizer to split the text; give token ids instead")
    ids = [
        token
        for arg in span.args
        for token in (
            tokenizer(arg, add_special_tokens=False)["input_ids"] if isinstance(arg, str) else [arg]
        )
    ]
    if not ids:
        raise PlanError(f"span {span}: the tokenizer makes no token of the text")
    return tuple(ids)
