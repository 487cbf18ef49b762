"""The command line in processes of its own, which can be killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


class Outcome(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


def _start(words: tuple[object, ...], two: bool) -> subprocess.Popen[str]:
    launcher = _TWO if two else []
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "steer", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: object, two: bool = False) -> Outcome:
    """A command to its end, by one process or by two; one that hangs fails."""
    with _start(words, two) as process:
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            _kill(process.pid)
            raise
    return Outcome(process.returncode, out, err)


def kill(*words: Any, when: Path, lines: int, two: bool = False) -> None:
    """Kill -9 a command, and its processes, once a file has so many lines."""
    with _start(words, two) as process:
        deadline = time.monotonic() + 120
        while not (when.exists() and when.read_bytes().count(b"\n") >= lines):
            if process.poll() is not None or time.monotonic() > deadline:
                _kill(process.pid)
                raise AssertionError(f"it ended before it could be killed: {process.communicate()}")
            time.sleep(0.002)
        _kill(process.pid)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def _kill(pid: int) -> None:
    """A process that was not waited for, and those that it launched, in sessions of their own."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for one in (pid, *map(int, children.read_text().split())):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
