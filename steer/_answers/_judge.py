"""A process that compares answers, and that can be killed.

math-verify's own timeouts are signals, which only the main thread may set, and which do not
interrupt arithmetic such as 9^9^9^9. The process is started once and serves until it hangs or dies.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from steer.hooks import RunError

_START_S = 120  # importing sympy takes a second, or much longer from a cold network drive


class Judge:
    """Asks math-verify; one question at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def same(self, given: str, gold: str, timeout_s: float | int) -> bool:
        """Whether math-verify says yes within the time.

        Raises:
            RunError: the process does not start.
        """
        question = {"given": given, "gold": gold, "timeout_s": timeout_s}
        with self._lock:
            process = self._running()
            return self._ask(process, json.dumps(question), timeout_s) == "true"

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._process = _start()
            if self._ask(self._process, "", _START_S) != "ready":
                self._stop()
                raise RunError(
                    "same_answer: math-verify does not start; try: python -c 'import math_verify'"
                )
        return self._process

    def _ask(self, process: "subprocess.Popen[str]", question: str, timeout_s: float | int) -> str:
        """The reply; empty if the process had to be killed or died."""
        assert process.stdin is not None
        assert process.stdout is not None
        reply, expired = "", threading.Event()
        late = threading.Timer(timeout_s, _expire, [process, expired])
        late.daemon = True
        late.start()
        try:
            with suppress(OSError, ValueError):  # it died before it could read
                process.stdin.write(question + "\n")
                process.stdin.flush()
                reply = process.stdout.readline().strip()
        finally:
            late.cancel()
            late.join()
            # Also where Ctrl-C left a reply unread, or the time was up just after the reply.
            if expired.is_set() or not reply:
                self._stop()
        return reply

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what was not flushed is of no use any more
                        pipe.close()


def judge() -> Judge:
    """The one of this process; a fork gets its own, since replies would go to either."""
    return _judge_of(os.getpid())


@cache
def _judge_of(pid: int) -> Judge:
    made = Judge()
    atexit.register(lambda: made.close() if os.getpid() == pid else None)
    return made


def _expire(process: "subprocess.Popen[str]", expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _start() -> "subprocess.Popen[str]":
    """Runs the script with this process' import path, and not its own folder, to import from.

    The hash seed is fixed because sympy's order of terms follows it.
    """
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("_verify.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="ascii",
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"},
    )
