from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import tiny
from steer._judges import Judge
from steer._scoring import Answer
from steer._tasks import Result, Setting, Task, _answering


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Result]]:
    """What a task says of answers written by hand, one a row."""
    model = tiny.model()
    monkeypatch.setattr(model, "processor", SimpleNamespace(image_token="<image>"))

    def run(
        task: Task,
        rows: Sequence[Mapping[str, Any]],
        texts: Sequence[str],
        prompt: str = "plain",
        judges: Mapping[str, Judge] | None = None,
    ) -> list[Result]:
        given = [Answer(text, len(text.split()), True) for text in texts]
        monkeypatch.setattr(_answering, "answers", lambda *_, **__: [given])
        items = [task.item(dict(row), n) for n, row in enumerate(rows)]
        setting = Setting(model, prompt, judges=judges or {})
        return task.measure(setting, items, {"base": None})["base"]

    return run
