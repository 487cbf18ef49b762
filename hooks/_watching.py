"""Tells a pass when the decoder begins and ends one."""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ._given_ids import GivenIds
from ._model import Model
from ._pass import Pass
from ._prompts import heard, passed


@contextmanager
def watching(model: Model, state: Pass) -> Iterator[None]:
    """Keep `state.tokens` true during every pass of the decoder."""
    decoder = model.anatomy.decoder
    signature = inspect.signature(type(decoder).forward)  # nnsight puts another on the instance

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = kwargs
        if args:
            given = signature.bind_partial(decoder, *args, **kwargs).arguments
            given |= given.pop("kwargs", {})
        state.checkpoints = decoder.training and getattr(decoder, "gradient_checkpointing", False)
        state.begin(given, heard(model.hf), given_ids.now)

    def after(_: nn.Module, __: Any, output: Any) -> None:
        passed(model.hf)
        state.end(output)

    given_ids = GivenIds()
    with ExitStack() as stack:
        if state.follows_tokens and model.hf is not decoder:
            stack.enter_context(given_ids.followed(model.hf, decoder))
        handle = decoder.register_forward_pre_hook(before, with_kwargs=True)
        stack.callback(handle.remove)
        handle = decoder.register_forward_hook(after, always_call=True)
        stack.callback(handle.remove)
        yield
