"""GSM8K (Cobbe et al. 2021) and MATH-500 (Hendrycks et al. 2021, Lightman et al. 2023)."""

from collections.abc import Sequence
from dataclasses import replace

from steer._answers import (
    GSM8K_PROMPT,
    MATH_PROMPT,
    final_answer,
    last_number,
    same_answer,
    same_number,
)
from steer._files import Row
from steer._scoring import Answer
from steer.hooks import DataError

from ._answering import FLUENCY, answering
from ._request import Request, text_in
from ._setting import Setting
from ._task import Metric, Result, Task


def _gsm8k(row: Row, number: int) -> Request:
    answer = text_in(row, number, "final_answer", "answer")
    gold = last_number(answer)
    if gold is None:
        raise DataError(f"row {number}: no number in the answer {answer!r}")
    prompt = GSM8K_PROMPT.format(question=text_in(row, number, "question"))
    return Request(number, prompt, {"gold": gold})


def _math(row: Row, number: int) -> Request:
    prompt = MATH_PROMPT.format(question=text_in(row, number, "problem"))
    about = {name: row[name] for name in ("subject", "level") if name in row}
    return Request(number, prompt, {"gold": text_in(row, number, "answer")} | about)


def score_gsm8k(_: Setting, requests: Sequence[Request], given: Sequence[Answer]) -> list[Result]:
    """Whether the last number is the right one."""
    read = [last_number(answer.text) for answer in given]
    return [
        {"correct": float(x is not None and same_number(x, r.about["gold"])), "read": x}
        for x, r in zip(read, requests, strict=True)
    ]


def score_math(_: Setting, requests: Sequence[Request], given: Sequence[Answer]) -> list[Result]:
    """Whether the final answer equals the right one."""
    read = [final_answer(answer.text) for answer in given]
    return [
        {"correct": float(x is not None and same_answer(x, r.about["gold"])), "read": x}
        for x, r in zip(read, requests, strict=True)
    ]


GSM8K = Task(
    name="gsm8k",
    about="GSM8K: word problems, the last number is right",
    source="test.jsonl of github.com/openai/grade-school-math, as --data FILE",
    licence="MIT",
    metrics=(Metric("correct", "right answers", "higher"), *FLUENCY),
    item=_gsm8k,
    measure=answering(score_gsm8k),
    chunk=16,
    new_tokens=256,
    randoms=2,
)

MATH500 = replace(
    GSM8K,
    name="math500",
    about="MATH-500: competition problems, the final answer equals the right one",
    source="test.jsonl of MATH-500 (github.com/openai/prm800k), as --data FILE",
    item=_math,
    measure=answering(score_math),
    new_tokens=512,
    needs=("math_verify",),
)
