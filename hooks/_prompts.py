"""Says where prompts end, for passes that hold a prompt and its continuation together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad

from ._errors import DataError


@dataclass(frozen=True)
class Prompts:
    """What is known of the prompts that the passes under way belong to.

    Attributes:
        lengths: real tokens of each prompt.
        real: True where a prompt has a token and not padding; None if only the passes know.
        ids: the tokens of each row up to the end of the pass under way, as `generate` has them.
        embedded: how many tokens before those were given as embeddings.
        whole: whether `real` is known to be True everywhere.
        places: where each token of the pass stands in its text, where that is not its place in the
            row.
        total: how many tokens the pass under way ends at; None if only the cache knows.
        owner: the model that they belong to; None if they belong to any.
        announced: whether the next pass of the owner is one of those that they tell of.
    """

    lengths: Int[Tensor, " prompts"]
    real: Bool[Tensor, "prompts width"] | None = None
    ids: Int[Tensor, "batch seen"] | None = None
    embedded: int = 0
    whole: bool = False
    places: Int[Tensor, "batch seq"] | None = None
    total: int | None = None
    owner: Any = None
    announced: bool = True

    def flat(self, mask: Any, batch: int, total: int) -> Any:
        """The two-dimensional mask up to token `total` that a prepared `mask` was made from.

        The masks that transformers prepares for a static cache show a sliding window only, and
        Mamba gets none after the prompt.
        """
        if self.real is None or (isinstance(mask, Tensor) and mask.dim() == 2):
            return mask
        if mask is None and self.whole:
            return None
        after = max(0, total - self.real.shape[1])
        real = pad(self.real, (0, after), value=True)[:, :total]
        return real.repeat_interleave(batch // real.shape[0], 0)


_told: ContextVar[Prompts | None] = ContextVar("steer_prompts", default=None)


@contextmanager
def prompts(
    lengths: Sequence[int] | Int[Tensor, " prompts"],
    ids: Int[Tensor, "batch total"] | None = None,
    places: Int[Tensor, "batch seq"] | None = None,
) -> Iterator[None]:
    """Tell attached plans how long the prompts of the passes inside are.

    The spans `prompt`, `generated` and `last` need it where one pass holds prompt and answer
    together (teacher forcing) or a part of a prompt. `generate` says it by itself. Outside of
    both, a pass with an empty cache is all prompt and one with a filled cache all generated.

    Args:
        lengths: real tokens (no padding) of each prompt; a batch may be a multiple of that many
            rows, the rows of a prompt next to each other.
        ids: the tokens of each row from its first to the last of the one pass inside, padding
            included; spans that look for a text need them where the cache was filled elsewhere.
        places: where each token of the one pass inside stands in its text, from 0, where that is
            not its place in the row: a row may hold a tree of continuations under a mask of four
            dimensions.

    Raises:
        DataError: if a length is negative or there are none, or `ids` or `places` is no table.

    Example:
        >>> with steer.attach(model, plan), steer.prompts([5, 9]):  # doctest: +SKIP
        ...     model.hf(**batch_of_two)
    """
    try:
        tensor = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.empty(0)
    whole = not tensor.is_floating_point() and tensor.dtype != torch.bool
    if not whole or tensor.dim() != 1 or not tensor.numel() or (tensor < 0).any():
        raise DataError(f"prompts: expected one length >= 0 a prompt, got {lengths!r}")
    for name, table in (("ids", ids), ("places", places)):
        if table is not None and table.dim() != 2:
            raise DataError(f"prompts: expected {name} of two axes, got {tuple(table.shape)}")
    with known(Prompts(tensor, ids=ids, places=places)):
        yield


@contextmanager
def known(prompts: Prompts) -> Iterator[None]:
    """`prompts` without its checks."""
    token = _told.set(prompts)
    try:
        yield
    finally:
        _told.reset(token)


def tell(prompts: Prompts) -> None:
    """Say more about the prompts of the `known` block that is open."""
    _told.set(prompts)


def heard(hf: Any) -> Prompts | None:
    """What is known of the pass of a model that begins now.

    Not what `generate` says of another model, nor of a pass that it has not announced, such as that
    of a logits processor over some other text.
    """
    prompts = _told.get()
    if prompts is None or prompts.owner is None:
        return prompts
    return prompts if prompts.owner is hf and prompts.announced else None


def passed(hf: Any) -> None:
    """Say that a pass of a model has ended."""
    prompts = _told.get()
    if prompts is not None and prompts.owner is hf and prompts.announced:
        _told.set(replace(prompts, announced=False))


def told() -> Prompts | None:
    """What is known now."""
    return _told.get()
