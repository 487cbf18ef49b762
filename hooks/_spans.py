"""Which tokens an intervention touches; knows no edit and no model.

A span is a rule, not a list of indices: it is worked out anew for each pass, from absolute
positions. Padding is never selected.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from ._errors import PlanError
from ._tokens import Tokens

_RULES: dict[str, Callable[[Tokens], Tensor]] = {
    "all": lambda t: t.real,
    "prompt": lambda t: t.real & (t.position < t.prompt_length),
    "generated": lambda t: t.real & (t.position >= t.prompt_length),
    "last": lambda t: t.real & (t.position == t.prompt_length - 1),
}


@dataclass(frozen=True)
class Span:
    """A rule that selects tokens.

    Args:
        name: `all` (every token), `prompt`, `generated` (every token after the prompt), or
            `last` (the last token of the prompt, whose state predicts the first new token).

    Raises:
        PlanError: if the name is not one of these.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in _RULES:
            raise PlanError(f"Span: unknown span {self.name!r}; expected {', '.join(_RULES)}")

    def __str__(self) -> str:
        return self.name

    def __call__(self, tokens: Tokens) -> Bool[Tensor, "batch seq"]:
        """True for the tokens of this pass that the span selects."""
        return _RULES[self.name](tokens)


ALL = Span("all")
PROMPT = Span("prompt")
GENERATED = Span("generated")
LAST = Span("last")


def as_span(span: "Span | str") -> Span:
    """The span itself, or the one of that name."""
    return span if isinstance(span, Span) else Span(span)
