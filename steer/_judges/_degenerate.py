"""Says whether a text is broken: empty, caught in a loop, or no language.

Thresholds are set by hand on ordinary texts (docs/judges.md has the false alarms): they find text
that nobody would call an answer, not text that is merely dull.
"""

import re
from itertools import groupby

from ._gibberish import is_gibberish

LOOP_LINES = 5
"""So many equal lines of two or more words, one after the other, are a loop; of any text, twice
so many."""

LOOP_SHARE = 0.6
"""A text of at least `LOOP_WORDS` words of which this share are repeated 4-grams is a loop."""

LOOP_WORDS = 60

# A word, or one character of a script that is written without spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]|[^\W_]+(?:['\u2019][^\W_]+)?")
_LIST_NUMBER = re.compile(r"(?m)(?:^\W*|(?<=[.!?] ))\d{1,3}[.):]\s+")

# A block of 1 to 12 characters, then the same again at least 24 times.
_SHORT_LOOP = re.compile(r"(\S{1,12}?)\1{24,}")


def degenerate(text: str) -> str | None:
    """Why the text is no usable answer, or None.

    Returns:
        `"empty"`: nothing but space; `"loop"`: the same words, characters or lines again and
        again; `"gibberish"`: symbols, broken characters, or letters in no language's order.
    """
    if not text.strip():
        return "empty"
    if _loops(text):
        return "loop"
    return "gibberish" if is_gibberish(text) else None


def repetition(text: str) -> float:
    """The share of word 4-grams that have stood in the text before; 0 below eight words.

    `1 - distinct / all`, as seq-rep-4 of Welleck et al. 2019, https://arxiv.org/abs/1908.04319.
    """
    return _repeated(_words(text))


def _repeated(words: list[str]) -> float:
    if len(words) < 8:
        return 0.0
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1 - len(set(grams)) / len(grams)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _loops(text: str) -> bool:
    short = _SHORT_LOOP.search(text)
    if short and _says(short[1]):
        return True
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    runs = ((line, len(list(run))) for line, run in groupby(lines))
    if any(n >= LOOP_LINES * (1 if len(_words(line)) > 1 else 2) for line, n in runs):
        return True
    words = _words(_LIST_NUMBER.sub("", text))
    if len(words) >= LOOP_WORDS and _repeated(words) >= LOOP_SHARE:
        return True
    return _cycles(words)


def _says(block: str) -> bool:
    """Whether a block of characters has a letter: rows of dashes or zeros are ordinary."""
    return any(character.isalpha() for character in block)


def _cycles(words: list[str]) -> bool:
    """Whether a block of up to 40 words follows itself at least three times, 20 words in all."""
    for period in range(1, min(40, len(words) // 4) + 1):
        needed = max(3 * period, 20)
        run = 0
        for i in range(period, len(words)):
            run = run + 1 if words[i] == words[i - period] else 0
            if run >= needed and _says("".join(words[i - period : i])):
                return True
    return False
