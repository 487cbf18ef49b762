"""Measures tasks whose items are answered freely."""

import re
from collections.abc import Callable, Sequence

from steer._judges import degenerate, repetition
from steer._scoring import Answer, Asked, answers

from ._request import Request
from ._setting import Setting
from ._task import Arms, Measure, Metric, Result
from ._templates import TEMPLATES

Score = Callable[[Setting, Sequence[Request], Sequence[Answer]], list[Result]]
"""The metrics of each answer."""

FLUENCY = (
    Metric("degenerate", "answers that are empty, loop or are gibberish", "lower"),
    Metric("repetition", "share of repeated word 4-grams", "lower", proportion=False),
    Metric("tokens", "length of the answer", proportion=False),
    Metric("cut", "answers that the token limit cut off", "lower"),
)
"""What is measured of every answer."""


def answering(score: Score) -> Measure:
    """A measure that has the model answer every request under every arm, and scores that."""

    def measure(
        setting: Setting, requests: Sequence[Request], arms: Arms
    ) -> dict[str, list[Result]]:
        made = answers(
            setting.model,
            [_asked(setting, request) for request in requests],
            list(arms.values()),
            max_new_tokens=setting.max_new_tokens,
            batch_tokens=setting.batch_tokens,
        )
        found = {}
        for name, whole in zip(arms, made, strict=True):
            given = [_turn(setting, answer) for answer in whole]
            scores = score(setting, requests, given)
            found[name] = [s | _fluency(a) for s, a in zip(scores, given, strict=True)]
        return found

    return measure


def _asked(setting: Setting, request: Request) -> Asked:
    if request.image is None:
        return setting.asked(request.prompt)
    return setting.pictured(request.prompt, request.image)


def _turn(setting: Setting, answer: Answer) -> Answer:
    """Without the next question, with which models go on after an answer in a Q/A format."""
    if setting.prompt not in TEMPLATES:
        return answer
    text = re.split(r"(?:^|\n)Q:", answer.text)[0].strip()
    if text == answer.text:
        return answer
    tokens = len(setting.model.token_ids(text, start=False))
    return answer._replace(text=text, tokens=tokens, ended=True)


def _fluency(answer: Answer) -> Result:
    reason = degenerate(answer.text)
    return {
        "degenerate": float(reason is not None),
        **({"why": reason} if reason else {}),
        "repetition": round(repetition(answer.text), 4),
        "tokens": answer.tokens,
        "cut": float(not answer.ended),
        "answer": answer.text,
    }
