r"""LaTeX of an answer without what does not change its meaning."""

import re

_REPLACED = (
    (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
    (r"\\(?:left|right)\s*\.", ""),
    (r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])", ""),
    (r"\\(?:textbf|textit|textrm|textnormal|mbox|mathrm|mathbf)(?![a-zA-Z])", r"\\text"),
    (r"\\\\\s*\[[^\[\]]*\]", r"\\\\"),  # the space after a row: \\[4pt]
    (r"(?<!\\)\\!|(?<=\d)\{,\}(?=\d{3})", ""),
    (r"(?<!\\)\\[,;:> ]|~|\s", " "),
    (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\degree(?![a-zA-Z])|°", ""),
    (r"\\?\$", ""),
    ("\N{MINUS SIGN}", "-"),
)
_RULES = [(re.compile(pattern), by) for pattern, by in _REPLACED]
_UNIT = re.compile(r"(?<=\S)\s*\\text\s*\{[^{}]*\}\s*(?:\^\s*(?:\d|\{\d\}))?$")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_SPACE = re.compile(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])")
_SHORT_FRAC = re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)")


def tidy(answer: str) -> str:
    r"""The same formula without sizes, dollar and degree signs, thin spaces and a final dot."""
    for pattern, by in _RULES:
        answer = pattern.sub(by, answer)
    return answer.strip().removesuffix(".").strip()


def words(answer: str) -> str | None:
    r"""The text of an answer that is nothing but text, such as `\text{(E)}`; else None."""
    found = _TEXT.fullmatch(tidy(answer))
    return _letter(found[1]) if found else None


def key(answer: str) -> str:
    r"""A form that two spellings of one formula share, for comparison only.

    Units in a final `\text{...}` go, and so do spaces, unless they part two numbers or letters:
    "1 1/2" is not "11/2".

    Source: after `_strip_string` of hendrycks/math (modeling/math_equivalence.py).
    """
    answer = _TEXT.sub(r"\1", _UNIT.sub("", tidy(answer)))
    answer = _SHORT_FRAC.sub(r"\\frac{\1}{\2}", answer)
    return _letter(_SPACE.sub("", answer))


def _letter(text: str) -> str:
    """A lettered choice without its parentheses: (E) is E."""
    return re.sub(r"^\(([A-Z])\)$", r"\1", text.strip())


def shape(answer: str) -> str:
    """Whether it is a "list" (`1,2`), a "tuple" (`(1,2)`, `[0,1)`, matching or not), or ""."""
    depth, outer, inner = 0, False, False
    bare = tidy(answer)
    for at, char in enumerate(bare):
        depth += (char in "([{") - (char in ")]}")
        outer |= depth == 0 and at < len(bare) - 1
        inner |= depth == 1 and char == ","
        if depth == 0 and char == ",":
            return "list"
    return "tuple" if bare[:1] in ("(", "[") and inner and not outer else ""
