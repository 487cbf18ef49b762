r"""Numbers at the end of a solution, read and compared exactly."""

import re
from fractions import Fraction

from ._boxed import boxed
from ._phrases import ANSWER_PHRASE

_NUMBER = re.compile(
    r"""
    (?<![\^_]) (?<!\^\{) (?<!_\{)                     # no exponent or index, as in cm^2
    (?:(?<![0-9A-Za-z)\]}])-\s?(?=[\\$€£¥₹]))?        # -$5: a sign; 7-5: none
    (?:\\?[$€£¥₹]\s?)?
    (?P<number>
        (?:(?<![0-9A-Za-z)\]}])-)?
        (?: \\[dtc]?frac\{-?[0-9]+\}\{[0-9]+\}
          | (?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+) (?:\.[0-9]+|/[0-9]+)?
          | \.[0-9]+ )
    )
    """,
    re.VERBOSE,
)
_AFTER_HASHES = re.compile(r"####[\s*:=]*(?:\\[(\[]\s*)?(?=[-.0-9$€£¥₹\\])")
_FRAC = re.compile(r"\\[dtc]?frac\{(-?[0-9]+)\}\{([0-9]+)\}")
_PLAIN = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:/[0-9]+)?")
_SPELLINGS = str.maketrans({"\N{MINUS SIGN}": "-", "\N{FULLWIDTH DOLLAR SIGN}": "$"})
_LONGEST = 1_000  # characters; Python itself refuses to convert integers beyond 4,300 digits


_SENTENCE_END = re.compile(r"\n|[.!?](?=\s|\Z)")


def last_number(text: str) -> str | None:
    r"""The number that a solution of GSM8K ends with, such as "-1234.50" or "3/4".

    The first of these that holds a number:

    1. what directly follows a `####`, the last such one (GSM8K's own rule);
    2. the last number in the last `\boxed{...}`;
    3. the first number after the last "answer is" or "answer:", or, where a sum follows there
       ("7 + 8 = 15"), the number after its last equals sign;
    4. the last number anywhere.

    Thousands separators, currency and percent signs and trailing dots are dropped; signs, decimals
    and fractions (`3/4`, `\frac{3}{4}`) stay. Exponents and indices (`cm^2`) do not count, nor
    is the hyphen of "10-20" a sign.

    Source: rule 1 is `ANS_RE` of openai/grade-school-math (grade_school_math/dataset.py), which
    is also lm-evaluation-harness' `strict-match`, there for its first match; with currency, bold
    face and line breaks let through here. Rule 4 alone is its `flexible-extract`; 2 and 3 are for
    chat models, which answer in their own form and may go on talking.
    """
    text = _legible(text)
    hashes = [found for found in _AFTER_HASHES.finditer(text) if _NUMBER.match(text, found.end())]
    phrases = list(ANSWER_PHRASE.finditer(text))
    return (
        (_first(text, hashes[-1].end()) if hashes else None)
        or _last(boxed(text) or "")
        or (_stated(text, phrases[-1].end()) if phrases else None)
        or _last(text)
    )


def same_number(a: str, b: str) -> bool:
    """Whether two texts are the same number exactly: 1,234.00 and 1234, 0.5 and 1/2.

    Currency and percent signs count for nothing, as in GSM8K's scoring: 50% is 50. A text that is
    no number, or is longer than 1,000 characters, equals nothing.
    """
    first, second = _value(a), _value(b)
    return first is not None and first == second


def _legible(text: str) -> str:
    r"""The text with one spelling of the minus sign and of thousands (`1{,}234`, `1,\!234`)."""
    return re.sub(r"\\[!,]", "", text.translate(_SPELLINGS).replace("{,}", ","))


def _stated(text: str, start: int) -> str | None:
    end = _SENTENCE_END.search(text, start)
    stop = end.start() if end else len(text)
    equals = text.rfind("=", start, stop)
    after = _first(text[:stop], equals + 1) if equals >= 0 else None
    return after or _first(text, start)


def _first(text: str, start: int) -> str | None:
    found = _NUMBER.search(text, start)
    return _written(found) if found else None


def _last(text: str) -> str | None:
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007
        pass
    return _written(found) if found else None


def _written(found: re.Match[str]) -> str:
    number = _FRAC.sub(r"\1/\2", found["number"]).replace(",", "").replace("--", "")
    outer = found.group().startswith("-") and not found["number"].startswith("-")
    return f"-{number}" if outer else number


def _value(text: str) -> Fraction | None:
    if len(text) > _LONGEST:
        return None
    text = _FRAC.sub(r"\1/\2", _legible(text))
    text = re.sub(r"[\s,$€£¥₹%\\]", "", text).removesuffix(".")
    if not _PLAIN.fullmatch(text):
        return None
    numerator, _, denominator = text.partition("/")
    if denominator and not int(denominator):
        return None
    return Fraction(numerator) / int(denominator or 1)
