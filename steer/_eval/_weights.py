"""What tells the weights of two models apart that have the same name, such as a folder's."""

import hashlib

import torch
from torch import nn

_PICKED = 64  # numbers of a parameter; training changes nearly all


def weights_of(model: nn.Module) -> str | None:
    """A digest of every parameter's name, shape and some of its numbers.

    None if some weights are offloaded, as which ones may differ from start to start.
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if parameter.device.type == "meta":
            return None
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        flat = parameter.detach().flatten()
        some = flat[:: max(1, len(flat) // _PICKED)][:_PICKED].cpu().contiguous()
        digest.update(some.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
