"""Where the inputs of a model go; also of one whose weights accelerate has moved away."""

from collections.abc import Iterator

import torch
from torch import nn


def input_device(embedding: nn.Module) -> torch.device:
    """The device that a token embedding works on.

    Offloaded weights are on the meta device until accelerate's hook brings them to its own.
    """
    device = next(embedding.parameters()).device
    if device.type != "meta":
        return device
    for one in _flat(getattr(embedding, "_hf_hook", None)):
        execution = getattr(one, "execution_device", None)
        if execution is not None:
            return torch.device(execution)
    return device


def _flat(hook: object) -> Iterator[object]:
    """A hook, or those in accelerate's sequence, which may hold sequences."""
    if not hasattr(hook, "hooks"):
        yield hook
    for one in getattr(hook, "hooks", ()):
        yield from _flat(one)
