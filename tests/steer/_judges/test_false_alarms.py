import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from steer._judges import degenerate, refuses

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def _rows(name: str) -> list[dict[str, object]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _truthfulqa() -> Iterator[str]:
    for row in _rows("truthfulqa.jsonl"):
        for column in ("correct_answers", "incorrect_answers"):
            answers = row[column]
            assert isinstance(answers, list)
            yield from answers


def _column(name: str, column: str) -> list[str]:
    return [text for row in _rows(name) if (text := str(row[column]).strip())]


def _texts(name: str) -> list[str]:
    if name == "truthfulqa":
        return list(_truthfulqa())
    files = {
        "gsm8k": ("gsm8k_test.jsonl", "answer"),
        "math": ("math500.jsonl", "solution"),
        "wikitext": ("wikitext2_raw_test.jsonl", "text"),
    }
    return _column(*files[name])


@pytest.mark.parametrize("name", ["truthfulqa", "gsm8k", "math", "wikitext"])
def test_real_texts_are_neither_broken_nor_refusals(name: str) -> None:
    texts = _texts(name)
    assert len(texts) >= 100
    assert sum(degenerate(text) is not None for text in texts) < 0.005 * len(texts)
    assert sum(refuses(text) for text in texts) < 0.005 * len(texts)
