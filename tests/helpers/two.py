"""Two processes of a run as two threads, joined as `torch.distributed` joins processes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from steer._eval import _share
from steer._eval._share import Share

T = TypeVar("T")


class Joined:
    """What `steer` calls of `torch.distributed`, between two threads."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2, timeout=20)
        self._said: list[Any] = [None, None]
        self.rank = threading.local()

    def all_gather_object(self, everyone: list[Any], mine: Any) -> None:
        self._said[self.rank.number] = mine
        self._barrier.wait()
        everyone[:] = self._said
        self._barrier.wait()

    def broadcast_object_list(self, said: list[Any]) -> None:
        if self.rank.number == 0:
            self._said[0] = said
        self._barrier.wait()
        said[:] = self._said[0]
        self._barrier.wait()


def both(monkeypatch: pytest.MonkeyPatch, run: Callable[[Share], T]) -> list[T | BaseException]:
    """What both get from a call, or what it raised."""
    joined = Joined()
    monkeypatch.setattr(_share, "dist", joined)

    def one(rank: int) -> T | BaseException:
        joined.rank.number = rank
        try:
            return run(Share(rank, 2))
        except Exception as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))
