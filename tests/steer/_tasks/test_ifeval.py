from collections.abc import Callable
from typing import Any

import pytest

from steer._tasks import TASKS, Result
from steer.hooks import DataError

IFEVAL = TASKS["ifeval"]
BOTH = {
    "prompt": "Write without commas, in lower case.",
    "instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase"],
    "kwargs": [{}, {}],
}
ONE = {
    "prompt": "No commas.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{"num_words": None}],
}


def test_an_item_keeps_its_instructions() -> None:
    item = IFEVAL.item(BOTH, 2)
    assert (item.id, item.prompt) == (2, BOTH["prompt"])
    assert item.about == {"instructions": BOTH["instruction_id_list"], "arguments": [{}, {}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction_id_list": ["no:such"], "kwargs": [{}]}, "^row 6: .*unknown instruction"),
        ({"kwargs": [{}]}, r"^row 6: .*2 instruction\(s\) but 1 set"),
        ({"kwargs": None}, "^row 6: "),
        ({"instruction_id_list": [], "kwargs": []}, "^row 6: instruction_id_list is empty"),
        ({"prompt": ""}, "^row 6: prompt must be a non-empty text"),
    ],
)
def test_rows_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        IFEVAL.item(BOTH | change, 6)


@pytest.mark.parametrize("column", ["prompt", "instruction_id_list", "kwargs"])
def test_a_missing_column_is_named(column: str) -> None:
    row = {name: value for name, value in BOTH.items() if name != column}
    with pytest.raises(DataError, match=f"^row 6: .*{column}"):
        IFEVAL.item(row, 6)


def test_prompts_and_instructions_strictly_and_loosely(
    scored: Callable[..., list[Result]],
) -> None:
    texts = [
        "all is quiet and nothing moves here",  # both followed
        "all is quiet, and nothing moves here",  # lower case only
        "Sure, here it is\nall is quiet and nothing moves here",  # both without the first line
    ]
    found = scored(IFEVAL, [BOTH] * 3, texts)
    names = ("strict_prompt", "loose_prompt", "strict_instruction", "loose_instruction")
    assert [[result[name] for name in names] for result in found] == [
        [1.0, 1.0, 1.0, 1.0],
        [0.0, 0.0, 0.5, 0.5],
        [0.0, 1.0, 0.0, 1.0],
    ]
    assert found[1]["followed"] == [False, True]


def test_every_instruction_weighs_the_same(scored: Callable[..., list[Result]]) -> None:
    found = scored(IFEVAL, [BOTH, ONE], ["one, two", "one"])
    metric = next(m for m in IFEVAL.metrics if m.name == "strict_instruction")
    assert metric.weight == "instructions"
    weights = [result["instructions"] for result in found]
    assert weights == [2, 1]
    total = sum(w * r["strict_instruction"] for w, r in zip(weights, found, strict=True))
    assert total / sum(weights) == pytest.approx(2 / 3)  # lower case, and one of two no-commas
