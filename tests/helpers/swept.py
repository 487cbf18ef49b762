"""Small sweeps of a tiny model over the quiz, their side effects measured on two texts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import quiz
import tiny
from steer._eval import Evaluation, Tuning, sweep

TUNING = Tuning(
    layers=(1, 2), strengths=(0.2, 0.5, 0.8), sources=2, options={"grains": {"steps": 2}}
)
TEXTS = ("the sky is blue and the sea is blue .", "the sun is hot . the ice is cold .")


def run(
    folder: Path,
    methods: Sequence[str] = ("caa", "grains"),
    texts: Sequence[str] = TEXTS,
    **options: Any,
) -> Evaluation:
    """A sweep on data that it writes into the folder."""
    given = written(folder, texts) | options
    return sweep(tiny.model(), "truthfulqa", methods, **given)


def written(folder: Path, texts: Sequence[str] = TEXTS) -> dict[str, Any]:
    """The options of a small sweep, whose data it writes into the folder."""
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    about = {"tuning": TUNING, "side": f"kl={path}", "randoms": 1}
    return about | {"data": quiz.write(folder)}


def plain(found: Evaluation) -> dict[str, Any]:
    """The summary as it comes back from a JSON file, but for the time it took."""
    summary: dict[str, Any] = json.loads(json.dumps(found.summary, allow_nan=False))
    return summary | {"seconds": 0}
