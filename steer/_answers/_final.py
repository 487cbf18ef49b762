r"""The final answer of a solution to a problem of MATH."""

import re

from ._boxed import boxed
from ._numbers import last_number
from ._phrases import ANSWER_PHRASE

# Each ends where the next one opens, and a backslash takes what follows: linear in any rubbish.
_FORMULA = (
    r"(?:\$\$[^$]+\$\$|\$[^$]+\$"
    r"|\\\((?:\\(?![()]).|[^\\])+\\\)|\\\[(?:\\(?![\[\]]).|[^\\])+\\\])"
)
_FORMULAS = re.compile(_FORMULA, re.DOTALL)
_JOINED = re.compile(rf"{_FORMULA}(?:\s*(?:,|and|or|,\s*and|,\s*or)\s*{_FORMULA})*", re.DOTALL)
_SENTENCE = re.compile(r"[^\n]*?(?=\.\s|\n|\.?\Z)")
_DELIMITERS = re.compile(r"\$\$?|(?<!\\)\\[()\[\]]")


def final_answer(text: str) -> str | None:
    r"""The final answer of a solution, as LaTeX without dollar signs.

    The first of these that there is:

    1. the content of the last `\boxed{...}` (see `boxed`), MATH's own rule;
    2. after the last "answer is" or "answer:", the formula there, with those that "and", "or" or a
       comma join to it, or else the rest of the sentence;
    3. the last formula: `$...$`, `$$...$$`, `\(...\)` or `\[...\]`;
    4. the last number.

    Source: 1 is hendrycks/math; 2 with a formula is the form that Minerva's prompt asks for
    (Lewkowycz et al. 2022, arXiv 2206.14858, appendix D.2); 3 and 4 are for models that follow
    neither.
    """
    phrases = list(ANSWER_PHRASE.finditer(text))
    formulas = _FORMULAS.findall(text)
    return (
        boxed(text)
        or (_announced(text, phrases[-1].end()) if phrases else None)
        or (_bare(formulas[-1]) if formulas else None)
        or last_number(text)
    )


def _announced(text: str, start: int) -> str | None:
    found = _JOINED.match(text, start) or _SENTENCE.match(text, start)
    return _bare(found.group()) if found else None


def _bare(formula: str) -> str:
    return _DELIMITERS.sub("", formula).strip().strip("*").strip()
