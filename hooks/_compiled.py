"""Compiled models run without compilation while a plan is attached.

A graph that was compiled before a block knows nothing of its hooks, since torch leaves those out of
what it checks before it runs a graph again: it would give unsteered outputs without a word. A graph
compiled inside a block would keep its hooks for good. Torch can switch compilation off for the
whole process only, so other compiled functions also run uncompiled meanwhile.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

_LOCK = Lock()
_OPEN: list[ExitStack] = []
"""One entry for each block that is open, in any thread; the first one holds the switch."""


@contextmanager
def uncompiled() -> Iterator[None]:
    """A block in which `torch.compile` is off; blocks may overlap, the last to end turns it on."""
    with _LOCK:
        if not _OPEN:
            switch = ExitStack()
            switch.enter_context(torch.compiler.set_stance("force_eager"))
            _OPEN.append(switch)
        else:
            _OPEN.append(_OPEN[-1])
    try:
        yield
    finally:
        with _LOCK:
            switch = _OPEN.pop()
            if not _OPEN:
                switch.close()
