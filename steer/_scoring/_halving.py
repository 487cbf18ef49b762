"""Goes on with half the batch where memory runs out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from steer.hooks import RunError

T = TypeVar("T")


def halving(run: Callable[[Sequence[T]], None], group: Sequence[T]) -> None:
    """Run a group, or its halves if memory does not suffice, and so on.

    `run` must leave nothing behind when it fails, or overwrite it when it is called again.

    Raises:
        RunError: if memory does not suffice for a single row.
    """
    if _fits(run, group):
        return
    # Out here the frames of the failed call, and the tensors they held, are gone.
    clear_device_cache(garbage_collection=True)
    if len(group) < 2:
        raise RunError(
            "out of memory with a batch of one row; use a smaller dtype, fewer new tokens or a "
            "device with more memory"
        )
    middle = len(group) // 2
    halving(run, group[:middle])
    halving(run, group[middle:])


def _fits(run: Callable[[Sequence[T]], None], group: Sequence[T]) -> bool:
    try:
        run(group)
    except Exception as error:
        if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
            raise
        return False
    return True
