"""The command line, run in this process."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from steer._cli import main


class Outcome(NamedTuple):
    """How a command ended and what it wrote."""

    code: object
    out: str
    err: str


Run = Callable[..., Outcome]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("extract", "caa", ...)` is `steer extract caa ...`."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["steer", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(stop.value.code, *capsys.readouterr())

    return run
