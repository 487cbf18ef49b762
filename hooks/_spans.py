"""Which tokens an intervention touches; knows no edit and no model.

A span is a rule, not a list of indices: it is worked out anew for each pass, from absolute
positions. Padding is never selected. Rules compose: `PROMPT & ~LAST`, `first(5) | LAST`.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from ._errors import DataError, PlanError
from ._tokens import Tokens


@dataclass(frozen=True)
class Span:
    """A rule that selects tokens.

    Made from a name (`all`, `prompt`, `generated`, `last`, `image`, `text`), by a function
    (`first`, `positions`, `after`, `any_of`, `masked`) or from other spans with `&`, `|` and `~`.

    Args:
        name: the rule.
        args: what the rule needs.

    Raises:
        PlanError: if there is no such rule.
    """

    name: str
    args: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in _RULES or (self.name in NAMED) == bool(self.args):
            raise PlanError(
                f"Span: unknown span {self.name!r}; expected {', '.join(NAMED)}, a function such "
                "as first(5), or these joined by & | ~"
            )

    def __str__(self) -> str:
        if self.name in ("and", "or"):
            return f"({f' {_SIGNS[self.name]} '.join(map(str, self.args))})"
        if self.name == "not":
            return f"~{self.args[0]}"
        return f"{self.name}({', '.join(map(_literal, self.args))})" if self.args else self.name

    def __and__(self, other: "Span") -> "Span":
        return Span("and", (self, other))

    def __or__(self, other: "Span") -> "Span":
        return Span("or", (self, other))

    def __invert__(self) -> "Span":
        return Span("not", (self,))

    def __call__(self, tokens: Tokens) -> Bool[Tensor, "batch seq"]:
        """True for the tokens of this pass that the span selects.

        Raises:
            DataError: if the span looks at tokens, and they are not known.
        """
        return _RULES[self.name](tokens, *self.args)

    @property
    def parts(self) -> tuple["Span", ...]:
        """The span and all spans that it is made of."""
        inner = [part for arg in self.args if isinstance(arg, Span) for part in arg.parts]
        return (self, *inner)

    @property
    def masks(self) -> tuple[Bool[Tensor, "rows width"], ...]:
        """The masks in it that a user gave."""
        return tuple(a.mask for part in self.parts for a in part.args if isinstance(a, _Mask))

    @property
    def looks_at_tokens(self) -> bool:
        """Whether the rule depends on which tokens there are, and not on their places alone."""
        return any(part.name in ("after", "any_of", "image", "text") for part in self.parts)

    def resolved(self, lookup: Callable[["Span"], "Span"]) -> "Span":
        """The same rule with every part replaced by what `lookup` makes of it."""
        args = (arg.resolved(lookup) if isinstance(arg, Span) else arg for arg in self.args)
        return lookup(Span(self.name, tuple(args)))


def first(n: int) -> Span:
    """The first `n` tokens after the prompt.

    Raises:
        PlanError: if `n` is not a positive integer.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise PlanError(f"first: expected a number of tokens from 1, got {n!r}")
    return Span("first", (n,))


def positions(start: int | None = None, stop: int | None = None) -> Span:
    """The tokens from `start` up to `stop` (not included), counted in their row without padding.

    Negative numbers count back from the end of the prompt, as in a slice of it: `positions(-3)`
    begins three tokens before the prompt ends, and goes on into what is generated;
    `positions(-3, None) & PROMPT` does not.

    Raises:
        PlanError: if an end is not an integer.
    """
    for end in (start, stop):
        if end is not None and (isinstance(end, bool) or not isinstance(end, int)):
            raise PlanError(f"positions: expected integers, got {end!r}")
    return Span("positions", (start, stop))


def after(marker: int | str | Sequence[int]) -> Span:
    """The tokens after the first occurrence of a marker in their row, prompt included.

    Args:
        marker: a token id, several that follow each other, or a text such as `</think>`, which the
            model's tokenizer splits when the plan is attached.

    Raises:
        PlanError: if the marker is empty or no such thing.
    """
    return Span("after", _marker("after", marker))


def any_of(tokens: int | str | Sequence[int]) -> Span:
    """Every token with one of these ids, or of those that the tokenizer splits a text into.

    Raises:
        PlanError: if there are none.
    """
    return Span("any_of", _marker("any_of", tokens))


def masked(mask: Bool[Tensor, "rows width"]) -> Span:
    """The tokens where `mask` is True; laid out as the attention mask is, padding included.

    A batch may be a multiple of its rows (beams, return sequences). Tokens beyond its width are not
    selected. Such a span belongs to one batch and cannot be saved.

    Raises:
        PlanError: if the mask is not a two-dimensional tensor of booleans.
    """
    if not isinstance(mask, Tensor) or mask.dim() != 2 or mask.dtype != torch.bool:
        raise PlanError("masked: expected a boolean tensor of shape (rows, width)")
    return Span("masked", (_Mask(mask.clone()),))


class _Mask:
    """A mask that can stand in a frozen, hashable rule: equal only to itself."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask


def _marker(who: str, given: int | str | Sequence[int]) -> tuple[int | str, ...]:
    if isinstance(given, str) and given:
        return (given,)
    ids = given if isinstance(given, Collection) else (given,)
    if not isinstance(given, str) and ids and all(_is_id(token) for token in ids):
        return tuple(ids)
    raise PlanError(f"{who}: expected a token id, several, or a text, got {given!r}")


def _is_id(token: object) -> bool:
    return isinstance(token, int) and not isinstance(token, bool) and token >= 0


def _literal(value: Any) -> str:
    return "<mask>" if isinstance(value, _Mask) else json.dumps(value, ensure_ascii=False)


def _positions(t: Tokens, start: int | None, stop: int | None) -> Tensor:
    chosen = t.real
    if start is not None:
        begin = start if start >= 0 else (t.prompt_length + start).clamp_min(0)
        chosen = chosen & (t.position >= begin)
    if stop is not None:
        end = stop if stop >= 0 else (t.prompt_length + stop).clamp_min(0)
        chosen = chosen & (t.position < end)
    return chosen


def _any_of(t: Tokens, *ids: int) -> Tensor:
    here = t.known_ids("any_of")[:, t.past :]
    return t.real & torch.stack([here == token for token in ids]).any(0)


def _masked(t: Tokens, held: _Mask) -> Tensor:
    batch, seq = t.real.shape
    rows = held.mask.shape[0]
    if batch % rows:
        raise DataError(f"span masked: a mask of {rows} rows does not divide a batch of {batch}")
    here = held.mask[:, t.past : t.past + seq].to(t.real.device, non_blocking=True)
    here = torch.nn.functional.pad(here, (0, seq - here.shape[1]))
    return t.real & here.repeat_interleave(batch // rows, 0)


def _unresolved(_: Tokens) -> Tensor:
    raise DataError("span: image and text need a model that reads images; attach says which is")


_SIGNS = {"and": "&", "or": "|"}
_RULES: dict[str, Callable[..., Tensor]] = {
    "all": lambda t: t.real,
    "prompt": lambda t: t.real & (t.position < t.prompt_length),
    "generated": lambda t: t.real & (t.position >= t.prompt_length),
    "last": lambda t: t.real & (t.position == t.prompt_length - 1),
    "first": lambda t, n: (
        t.real & (t.position >= t.prompt_length) & (t.position < t.prompt_length + n)
    ),
    "positions": _positions,
    "after": lambda t, *marker: t.real & t.after_first(marker, "after"),
    "any_of": _any_of,
    "masked": _masked,
    "image": _unresolved,
    "text": _unresolved,
    "and": lambda t, a, b: a(t) & b(t),
    "or": lambda t, a, b: a(t) | b(t),
    "not": lambda t, a: t.real & ~a(t),
}
NAMED = ("all", "prompt", "generated", "last", "image", "text")

ALL = Span("all")
PROMPT = Span("prompt")
GENERATED = Span("generated")
LAST = Span("last")
IMAGE = Span("image")
TEXT = Span("text")
