"""Says whether a text is no language: symbols, broken characters, random letters or tokens."""

import re
import unicodedata
from collections import Counter
from itertools import pairwise

_RULE = re.compile(r"([\W_])\1{3,}")  # a row of dashes counts as one

_LATIN = re.compile(r"[a-zæøœßđł\u0131]{2,}")
_VOWELS = frozenset("aeiouyæøœ\u0131")

# Pairs of letters that English has more often than its letters alone would make: 70 % of the pairs
# of ordinary text, 30 % of the same letters in random order.
_PAIRS = (
    "th he in an er re on at or es en nd te ti ed al st it ng ar to ou se nt le is as de ri ro me"
    " co ha ve of hi li ic ca ma ce ur la ch ns ll om ac us be fo di pe ho ss ct wa un ly ut ge ad"
    " po nc em pr wi am ul pa ow mi we mo yo pl im fi ke vi su ig wh iv op mp wo ev ex ry ba gh ty"
    " ld ag ay ab sp bl ck fr bo cl if av ov bu cu uc by ak pp br um up du va qu ff gu ki mb mm ug"
    " pu fu"
)


# The commonest words of English, German, French, Spanish, Portuguese, Italian, Dutch and Polish.
_SMALL_WORDS = (
    "the of and a to in is for on with that it as are was be by this or at from you i not an we he"
    " she they have has can will my your if so but der die und das ist ein zu den von mit le la les"
    " de des et est un une en que el los se y il di che per non do da os een het van na w z nie"
)

# Tokens stuck together: "BeyondnightPF", "fragmented\u306b", "dad'$irr".
_STUCK = re.compile(
    r"[a-z\u00df-\u00ff][A-Z]|[^\W\d_]\ufffd|\ufffd[^\W\d_]"
    r"|[A-Za-z][\u0370-\u1fff\u2e80-\uffff]|[\u0370-\u1fff\u2e80-\uffff][A-Za-z]"
    r"|[^\W\d_][\])}\"@#$%^*+=<>~,;:!?|\\][^\W\d_]"
)
_ENDS = frozenset(".,;:!?)]}>")

_COMMON_PAIRS = frozenset(_PAIRS.split())
_COMMON_WORDS = frozenset(_SMALL_WORDS.split())


def is_gibberish(text: str) -> bool:
    """Whether a text is symbols, broken characters, scrambled letters or a salad of tokens."""
    seen = [c for c in text if not c.isspace()]
    kinds = Counter(unicodedata.category(c) for c in seen)
    broken = seen.count("\ufffd") + sum(kinds[kind] for kind in ("Cc", "Cn", "Co", "Cs"))
    if broken > max(1, 0.05 * len(seen)):
        return True
    written = sum(n for kind, n in kinds.items() if kind[0] in "LMN")
    counted = len(seen) if not written else len(_RULE.sub(r"\1", "".join(seen)))
    if counted >= 20 and written < 0.25 * counted:
        return True
    return _is_scrambled(text) or _is_salad(text)


def _is_scrambled(text: str) -> bool:
    """Whether letters stand in random order: few common pairs, and vowels where they fall.

    In languages written in Latin letters vowels and consonants alternate 1.2 to 1.6 times as often
    as by chance, so that Polish or Welsh is not taken for scrambled English.
    """
    bare = "".join(
        c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c)
    )
    pairs = [a + b for word in _LATIN.findall(bare) for a, b in pairwise(word)]
    if len(pairs) < 60 or sum(pair in _COMMON_PAIRS for pair in pairs) >= 0.45 * len(pairs):
        return False
    vowels = [(a in _VOWELS, b in _VOWELS) for a, b in pairs]
    share = sum(a + b for a, b in vowels) / (2 * len(vowels))
    alternating = sum(a != b for a, b in vowels) / len(vowels)
    return alternating < 1.15 * 2 * share * (1 - share)


def _is_salad(text: str) -> bool:
    """Whether a text of 20 words or more is tokens drawn at random.

    It has hardly any of the commonest words, tokens that are stuck together, and neither the
    punctuation nor the line ends of lists and code.
    """
    chunks = text.split()
    if len(chunks) < 20:
        return False
    small = sum(chunk.strip(".,;:!?\"'()").lower() in _COMMON_WORDS for chunk in chunks)
    stuck = sum(_STUCK.search(chunk) is not None for chunk in chunks)
    ends = sum(chunk[-1] in _ENDS for chunk in chunks) + text.count("\n")
    return small < 0.08 * len(chunks) and stuck > 0.04 * len(chunks) and ends < 0.1 * len(chunks)
