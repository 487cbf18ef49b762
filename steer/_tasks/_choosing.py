"""Measures tasks whose items are choices to be scored."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from steer._scoring import score_choices
from steer.attribution import answer_ids
from steer.hooks import attach

from ._setting import Setting
from ._task import Arms, Measure, Result


class Choosing(NamedTuple):
    """A prompt, and what may follow it."""

    prompt: str
    choices: Sequence[str]


Form = Callable[[Setting, Any], Choosing]
"""The prompt and choices of an item."""

Score = Callable[[Any, list[float]], Result]
"""The metrics of an item from the log-probability of each choice."""


def choosing(form: Form, score: Score, head: Callable[[Setting], str], broken: Result) -> Measure:
    """A measure that scores every choice of every item under every arm.

    Args:
        form: the prompt and choices of an item.
        score: the metrics from their log-probabilities.
        head: what all prompts begin with.
        broken: the metrics where scores are no numbers, as of a model that a plan made overflow.
    """

    def measure(setting: Setting, items: Sequence[Any], arms: Arms) -> dict[str, list[Result]]:
        prompts, choices = _ids(setting, [form(setting, item) for item in items])
        shared = _shared(setting.model.token_ids(head(setting)), prompts)
        longest = max(len(p) + max(map(len, c)) for p, c in zip(prompts, choices, strict=True))
        found = {}
        for name, plan in arms.items():
            with attach(setting.model, plan):
                scores = score_choices(
                    setting.model,
                    prompts,
                    choices,
                    primer=setting.primer(plan, shared, longest),
                    batch_tokens=setting.batch_tokens,
                )
            found[name] = [
                score(item, row) if all(map(math.isfinite, row)) else dict(broken)
                for item, row in zip(items, scores, strict=True)
            ]
        return found

    return measure


def _ids(
    setting: Setting, asked: Sequence[Choosing]
) -> tuple[list[list[int]], list[list[list[int]]]]:
    rows = [[answer_ids(setting.model, one.prompt, c) for c in one.choices] for one in asked]
    return [row[0][0] for row in rows], [[ids for _, ids in row] for row in rows]


def _shared(head: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens of the head that all prompts begin with, and not the whole of any."""
    count = min(len(head), *(len(prompt) - 1 for prompt in prompts))
    for prompt in prompts:
        same = (n for n in range(count) if prompt[n] != head[n])
        count = next(same, count)
    return list(head[:count])
