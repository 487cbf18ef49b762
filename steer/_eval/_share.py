"""The share of the work that this process does, where several run the same command."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

from steer.hooks import RunError, SteerError

T = TypeVar("T")


class Share(NamedTuple):
    """One of several processes, as `torchrun` or `accelerate launch` start them."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what is written once."""
        return self.rank == 0

    def of(self, work: Sequence[T]) -> Sequence[T]:
        """What this process does of some work."""
        return work[self.rank :: self.world]

    def all(self, found: list[T]) -> list[T]:
        """What every process found, one after the other; waits for all."""
        if self.world == 1:
            return found
        everyone: list[Any] = [None] * self.world
        dist.all_gather_object(everyone, found)
        return [one for some in everyone for one in some]

    def wait(self) -> None:
        """Wait until every process is here."""
        self.all([])

    def once(self, run: Callable[[], T]) -> T:
        """What the first process gets from a call, in every process; waits for it.

        Raises:
            SteerError: what the call raised there.
        """
        if self.world == 1:
            return run()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome = [run(), None]
            except SteerError as error:
                outcome = [None, error]
            except BaseException as error:
                # Without word of it the others would wait for ever.
                dist.broadcast_object_list([None, RunError(f"process 0 failed: {error!r}")])
                raise
        dist.broadcast_object_list(outcome)
        value, failure = outcome
        if failure is not None:
            raise failure
        return value  # type: ignore[no-any-return]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """In here a failure is of this process only; a note says of which, if not of the first.

        The first process speaks for all where they fail together; only such a note makes another
        one speak.
        """
        try:
            yield
        except SteerError as error:
            if not self.first:
                error.add_note(f"in process {self.rank} of {self.world}, counted from 0")
            raise


def share_of() -> Share:
    """The share of this process, which joins the others.

    They tell each other small things only, so gloo does on GPUs as well.

    Raises:
        RunError: the processes cannot be joined.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Share()
    if not dist.is_initialized():
        try:
            # A process that has little to do waits for the others for as long as they take.
            dist.init_process_group("gloo", timeout=timedelta(days=7))
        except (RuntimeError, ValueError) as error:
            raise RunError(f"eval: the processes cannot be joined ({error})") from error
    return Share(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Part from the other processes, at the end of the command."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device_of(device: str) -> str:
    """The device of this process: each of several takes a GPU of its own while there are some."""
    if device not in ("auto", "cuda") or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    count = torch.cuda.device_count()
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % count}" if count else device
