"""Says where prompts end, for passes that hold a prompt and its continuation together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Int
from torch import Tensor

from ._errors import DataError

_lengths: ContextVar[Tensor | None] = ContextVar("steer_prompt_lengths", default=None)


@contextmanager
def prompts(lengths: Sequence[int] | Int[Tensor, " prompts"]) -> Iterator[None]:
    """Tell attached plans how long the prompts of the passes inside are.

    The spans `prompt`, `generated` and `last` need it where one pass holds prompt and answer
    together (teacher forcing) or a part of a prompt. `generate` says it by itself. Outside of
    both, a pass with an empty cache is all prompt and one with a filled cache all generated.

    Args:
        lengths: real tokens (no padding) of each prompt; a batch may be a multiple of that many
            rows, the rows of a prompt next to each other.

    Raises:
        DataError: if a length is negative or there are none.

    Example:
        >>> with steer.attach(model, plan), steer.prompts([5, 9]):  # doctest: +SKIP
        ...     model.hf(**batch_of_two)
    """
    tensor = torch.as_tensor(lengths)
    if tensor.dim() != 1 or not tensor.numel() or (tensor < 0).any():
        raise DataError(f"prompts: expected one length >= 0 a prompt, got {lengths!r}")
    with known(tensor):
        yield


@contextmanager
def known(lengths: Int[Tensor, " prompts"] | None) -> Iterator[None]:
    """`prompts` without its checks, and None for not known."""
    token = _lengths.set(lengths)
    try:
        yield
    finally:
        _lengths.reset(token)


def prompt_lengths() -> Int[Tensor, " prompts"] | None:
    """The lengths that hold now."""
    return _lengths.get()
