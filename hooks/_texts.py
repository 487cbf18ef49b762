"""What is known of the text in each KV cache: how long its prompt was, and its tokens."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from ._errors import RunError
from ._prompts import Prompts


@dataclass
class Text:
    """What is known of the rows in one cache.

    Attributes:
        prompt: how many real tokens the pass had that began it.
        ids: its tokens, if a span looks at them.
    """

    prompt: Int[Tensor, "batch 1"] | None = None
    ids: Int[Tensor, "batch seen"] | None = None


@dataclass
class Texts:
    """The text in every cache that has been seen, as long as the cache lives."""

    _known: WeakKeyDictionary[Any, Text] = field(default_factory=WeakKeyDictionary)

    def of(self, cache: Any, past: int) -> Text:
        """The text that a pass goes on with, or a new one if the cache is empty or unknown."""
        known = self._known.get(cache) if cache is not None and past else None
        text = Text() if known is None else known
        self.remember(cache, text)
        return text

    def remember(self, cache: Any, text: Text) -> None:
        """Say which text a cache holds."""
        if cache is not None and hasattr(cache, "get_seq_length"):
            self._known[cache] = text


def tokens_in(cache: Any, state: Any, prompts: Prompts | None, seq: int) -> int:
    """How many tokens a cache holds, or a state that is none (RWKV).

    Args:
        cache: the cache that the decoder is given, or None.
        state: the state that it is given instead, or None.
        prompts: what is known of its prompts.
        seq: how many tokens the pass has.

    Raises:
        RunError: if it does not say.
    """
    told = None if prompts is None or prompts.total is None else max(0, prompts.total - seq)
    if cache is None and told is None and state is not None:
        raise RunError(
            "attach: a state does not say how many tokens it holds; use generate, or pass whole "
            "rows without a cache"
        )
    if cache is None:
        return told or 0
    try:
        length = cache.get_seq_length()
    except (AttributeError, ValueError) as error:  # Mamba's has no place for tokens
        if told is None:
            raise RunError(
                f"attach: {type(cache).__name__} does not say how many tokens it holds ({error}); "
                "use generate, or pass whole rows without a cache"
            ) from error
        return told
    if isinstance(length, Tensor):  # asking the device would wait for it
        return int(length) if told is None else told
    return int(length)


def history(
    before: Tensor | None, here: Tensor | None, past: int, seq: int, prompts: Prompts | None
) -> Int[Tensor, "batch total"] | None:
    """The tokens up to the end of the pass; None if some are not known."""
    if prompts is not None and prompts.ids is not None:
        missing = past + seq - prompts.ids.shape[1]
        if missing in (0, prompts.embedded):  # not so in the middle of a chunked prompt
            return pad(prompts.ids, (missing, 0), value=-1)
    if here is None or here.shape[1] != seq:
        return None
    if not past:
        return here
    if before is None or before.shape[0] != here.shape[0] or before.shape[1] < past:
        return None
    return torch.cat([before[:, :past], here], dim=1)
