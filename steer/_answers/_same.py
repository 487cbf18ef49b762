"""Whether two answers are mathematically equal."""

from functools import cache
from importlib.util import find_spec

from steer.hooks import DataError, RunError

from ._judge import judge
from ._tidy import key, shape, tidy, words

_LONGEST = 1_000  # characters; the longest answer of MATH has fewer than 200


def same_answer(given: str, gold: str, *, timeout_s: float | int = 5) -> bool:
    r"""Whether an answer equals the right one: `0.5` and `\frac12`, `x=5` and `5`, `2,1` and `1,2`.

    Equal spellings (see `key`) are equal. Otherwise a gold answer in words (`\text{east}`) needs
    the same words, whatever their case, and everything else is for `math-verify`, as formulas
    only. That library is lenient in known ways: decimals agree to six places, so 0.333333 is 1/3;
    50% is both 50 and 0.5; units go, and so do number bases (`52` passes for `52_8`); `(1,2)` may
    be a point or an interval. It also takes `(-2,1)` for the roots `1,-2`; that is refused here.

    It runs in a process of its own, with limits on memory and time, so that this may be called in
    any thread and comes back whatever a model wrote. What is longer than 1,000 characters, does
    not parse, or is not settled in time is not equal.

    Args:
        given: what the model answered, without `\boxed`.
        gold: the right answer. The order matters: math-verify reads the two differently.
        timeout_s: seconds for one comparison, at most 3,600.

    Raises:
        DataError: `timeout_s` is out of range.
        RunError: `math-verify` is not installed, or does not start.

    Source: https://github.com/huggingface/Math-Verify
    """
    if not 0 < timeout_s <= 3600:
        raise DataError(f"same_answer: timeout_s is {timeout_s}; expected above 0, at most 3600")
    _require_math_verify()
    if max(len(given), len(gold)) > _LONGEST or not given.strip():
        return False
    if key(given) == key(gold):
        return True
    wanted = words(gold)
    if wanted is not None:
        return key(given).casefold() == wanted.casefold()
    if {shape(given), shape(gold)} == {"tuple", "list"}:
        return False
    return judge().same(tidy(given), tidy(gold), timeout_s)


@cache
def _require_math_verify() -> None:
    """Says so at the first answer, not at the first one that needs it."""
    if find_spec("math_verify") is None:
        raise RunError(
            "same_answer: answers of MATH are compared with math-verify, which is not installed; "
            "run: python -m pip install 'steer[eval]'"
        )
