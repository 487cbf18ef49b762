r"""The content of a `\boxed{...}`."""

import re

_BOXED = re.compile(r"\\boxed(?![a-zA-Z])\s*")
_FBOX = re.compile(r"\\fbox(?![a-zA-Z])\s*")
_UNBRACED = re.compile(r"(?:(?!\\[)\]])[^$\n])*")
_STEP = re.compile(r"\\.|[{}]", re.DOTALL)


def boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, or in the last `\fbox{...}` if nothing is boxed.

    Without braces (`\boxed 5`) it is the rest of the line, or of the formula.

    Returns:
        The content without outer spaces; None without a box, or if the last one never closes.

    Source: `last_boxed_only_string` of hendrycks/math (modeling/dataset/util.py), and
    `remove_boxed` of Minerva's scorer for the form without braces. Unlike there, `\{` and `\}` do
    not count as braces, since in LaTeX they need not balance.
    """
    starts = list(_BOXED.finditer(text)) or list(_FBOX.finditer(text))
    if not starts:
        return None
    start = starts[-1].end()
    if text[start : start + 1] == "{":
        return _braced(text, start)
    rest = _UNBRACED.match(text, start)
    return (rest.group().strip() or None) if rest else None


def _braced(text: str, start: int) -> str | None:
    """What the brace at `start` encloses."""
    depth = 0
    for step in _STEP.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(step.group(), 0)
        if depth == 0 and step.group() == "}":
            return text[start + 1 : step.start()].strip()
    return None
