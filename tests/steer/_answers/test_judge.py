"""Rubbish, threads and limits: same_answer always comes back."""

import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from steer._answers import _judge, _same, same_answer
from steer.hooks import DataError, RunError

HUGE = "9^{9^{9^{9}}}"


@pytest.mark.parametrize(
    "rubbish",
    [
        "(" * 1000 + "5" + ")" * 1000,
        "(" * 400 + "5" + ")" * 400,
        "{" * 900,
        "}}}{{{",
        r"\frac" * 150,
        r"\sqrt{" * 150 + "5" + "}" * 150,
        r"\begin{pmatrix}" * 50,
        "\ud800\x00\x07\n\r\u2028",
        '"]}\n{"given": "5", "gold": "5", "timeout_s": 5}',
        r"\frac{1}{0}",
        HUGE,
        r"99999999999!",
        r"\sum_{i=1}^{10^{12}} i^{i}",
    ],
)
def test_rubbish_is_wrong_and_soon(rubbish: str) -> None:
    same_answer("1+1", "2")  # starts the process
    start = time.monotonic()
    assert not same_answer(rubbish, "5", timeout_s=0.5)
    assert time.monotonic() - start < 60  # it comes back at all
    assert same_answer("2+3", "5", timeout_s=60)


def test_the_process_is_kept_until_it_is_late() -> None:
    assert same_answer("2+3", "5", timeout_s=60)
    first = _judge.judge()._process
    assert not same_answer("2+4", "5", timeout_s=60)
    assert _judge.judge()._process is first is not None
    assert not same_answer(HUGE, "5", timeout_s=0.2)
    assert first.poll() is not None
    assert same_answer("2+3", "5", timeout_s=60)


def test_a_process_that_somebody_killed_is_replaced() -> None:
    assert same_answer("2+3", "5", timeout_s=60)
    process = _judge.judge()._process
    assert process is not None
    process.kill()
    process.wait()
    assert same_answer("2+3", "5", timeout_s=60)


def test_any_thread_may_ask() -> None:
    pairs = [(f"{n}+1", str(n + 1 + n % 2)) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pair: same_answer(*pair, timeout_s=60), pairs))
    assert found == [n % 2 == 0 for n in range(40)]


def test_an_interrupt_leaves_no_reply_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were the reply to the first question still in the pipe, the second would read "false".
    assert same_answer("1+1", "2", timeout_s=60)
    process = _judge.judge()._process
    assert process is not None

    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        process, "stdout", SimpleNamespace(readline=interrupted, close=process.stdout.close)
    )
    with pytest.raises(KeyboardInterrupt):
        same_answer("1+1", "3", timeout_s=60)
    assert same_answer("2+3", "5", timeout_s=60)
    assert process.poll() is not None


def test_a_fork_asks_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _judge.judge()
    assert _judge.judge() is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert _judge.judge() is not mine


def test_logging_stays_as_it_was() -> None:
    before = (logging.root.level, list(logging.root.handlers), logging.root.manager.disable)
    assert same_answer("2+3", "5", timeout_s=60)
    after = (logging.root.level, list(logging.root.handlers), logging.root.manager.disable)
    assert after == before
    assert "math_verify" not in logging.root.manager.loggerDict


def test_printing_is_no_reply(tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text(
        "print('true')\n"
        "LatexExtractionConfig = object\n"
        "def parse(*_, **__): print('true')\n"
        "def verify(*_, **__): print('true'); return False\n"
    )
    done = subprocess.run(
        [sys.executable, str(Path(_judge.__file__).with_name("_verify.py"))],
        input="\n" + json.dumps({"given": "1", "gold": "1", "timeout_s": 5}) + "\n",
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "ready\nfalse\n"


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_an_impossible_time_is_refused(timeout_s: float) -> None:
    with pytest.raises(DataError, match=r"^same_answer: timeout_s is .*; expected above 0"):
        same_answer("1", "1", timeout_s=timeout_s)


def test_without_math_verify_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _same._require_math_verify.cache_clear()
    monkeypatch.setattr(_same, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"run: python -m pip install 'steer\[eval\]'$"):
        same_answer("1", "1")


def test_a_math_verify_that_does_not_import_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert same_answer("1", "1")
    _judge.judge().close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "false")
        with pytest.raises(RunError, match="^same_answer: math-verify does not start; try: "):
            same_answer("2+3", "5")
    assert same_answer("2+3", "5", timeout_s=60)
