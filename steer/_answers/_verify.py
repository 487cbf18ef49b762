"""The script of the judge's process: answers in, true or false out. Imports nothing of `steer`."""

import json
import math
import signal
import sys
from contextlib import suppress

MEMORY = 2 << 30  # bytes


def main() -> None:
    """One line of JSON a question; the first line asks whether the imports are done."""
    replies, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes stdin
    _limit_memory()
    import math_verify  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_answer(line)) if line.strip() else "ready", file=replies, flush=True)


def _answer(line: str) -> bool:
    question = json.loads(line)
    # The parent kills a late process; this is for the case that there is no parent left to do so.
    if hasattr(signal, "alarm"):
        signal.alarm(math.ceil(question["timeout_s"]) + 1)
    try:
        return same(question["given"], question["gold"])
    except Exception:  # no rubbish that a model wrote may end a run
        return False
    finally:
        if hasattr(signal, "alarm"):
            signal.alarm(0)


def same(given: str, gold: str) -> bool:
    """math-verify's verdict on two formulas, without its timeouts."""
    from math_verify import LatexExtractionConfig, parse, verify

    read = [
        parse(rf"\boxed{{{text}}}", [LatexExtractionConfig()], "no_fallback", parsing_timeout=None)
        for text in (gold, given)
    ]
    return bool(verify(*read, timeout_seconds=None))


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # not everywhere to be had
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    main()
