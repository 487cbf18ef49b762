"""Judges by name, for the command line."""

from collections.abc import Callable

from steer.hooks import Model, TaskError

from ._asking import REFUSAL_QUESTION
from ._endpoint import endpoint
from ._judge import Judge
from ._phrases import phrases
from ._verdict import verdict

_FORMS = "phrases, model:NAME, http://host/v1#model-name or https://host/v1#model-name"


def judge_of(name: str, *, load: Callable[[str], Model], question: str = REFUSAL_QUESTION) -> Judge:
    """The judge of a name.

    Args:
        name: `phrases`, `model:NAME`, or `http://host/v1#model-name` (or https).
        load: loads the model of `model:NAME`.
        question: what model and endpoint are asked; `phrases` knows refusals only.

    Raises:
        TaskError: a name of no such form, or `phrases` with another question.
    """
    if name == "phrases":
        if question != REFUSAL_QUESTION:
            raise TaskError(
                "judge phrases: finds refusals only; for another question name a model or an "
                "endpoint"
            )
        return phrases
    kind, _, rest = name.partition(":")
    if kind == "model" and rest:
        return verdict(load(rest), question)
    url, _, model = name.partition("#")
    if kind in ("http", "https") and model:
        return endpoint(url, model, question)
    raise TaskError(f"unknown judge {name!r}; expected {_FORMS}")
