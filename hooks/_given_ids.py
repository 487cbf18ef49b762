"""The tokens that a model is given, where its decoder only sees their embeddings."""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel


class GivenIds:
    """What the innermost module around the decoder was given, while it runs.

    Attributes:
        now: `Int[Tensor, "batch seq"]`, or None outside of such a module, or if it has embeddings.
    """

    def __init__(self) -> None:
        self.now: Tensor | None = None

    @contextmanager
    def followed(self, hf: PreTrainedModel, decoder: nn.Module) -> Iterator[None]:
        """Keep `now` true during every pass."""
        with ExitStack() as stack:
            for module in _around(hf, decoder):
                before = module.register_forward_pre_hook(self._enter, with_kwargs=True)
                stack.callback(before.remove)
                after = module.register_forward_hook(self._leave, always_call=True)
                stack.callback(after.remove)
            yield

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else kwargs.get("input_ids")
        self.now = ids if isinstance(ids, Tensor) and not ids.is_floating_point() else None

    def _leave(self, _: nn.Module, __: Any, ___: Any) -> None:
        self.now = None


def _around(hf: PreTrainedModel, decoder: nn.Module) -> Iterator[nn.Module]:
    """The modules around a decoder that take tokens, from the outside in."""
    path = next(name for name, module in hf.named_modules() if module is decoder)
    parts = path.split(".") if path else []
    for n in range(len(parts)):
        module = hf.get_submodule(".".join(parts[:n]))
        if "input_ids" in inspect.signature(type(module).forward).parameters:
            yield module
