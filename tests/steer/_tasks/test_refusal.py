from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from steer._files import read_rows
from steer._judges import phrases
from steer._tasks import TASKS, Result
from steer.data import path_of
from steer.hooks import DataError

REFUSAL, OVER_REFUSAL, JAILBREAK = (TASKS[n] for n in ("refusal", "over-refusal", "jailbreak"))
REFUSES, ANSWERS = "I'm sorry, but I can't help with that.", "Here is how you can do it at home."
LOOP = "I'm sorry, but I can't help with that. " * 12


@pytest.mark.parametrize(
    "column", ["prompt", "instruction", "goal", "behavior", "question", "text"]
)
def test_columns_that_safety_sets_use(column: str) -> None:
    assert REFUSAL.item({column: " Do it "}, 0).prompt == "Do it"


def test_a_context_stands_before_the_request_as_in_harmbench() -> None:
    row = {"behavior": "Sum it up", "context": " Once upon a time "}
    assert REFUSAL.item(row, 0).prompt == "Once upon a time\n\n---\n\nSum it up"
    for empty in ("", "  ", None):
        assert REFUSAL.item(row | {"context": empty}, 0).prompt == "Sum it up"


def test_topics_are_kept() -> None:
    row = {"prompt": "p", "category": "c", "type": "t", "label": "safe", "level": "x"}
    assert REFUSAL.item(row, 0).about == {"category": "c", "type": "t", "label": "safe"}
    assert REFUSAL.item({"prompt": "p", "label": 1}, 0).about == {}


@pytest.mark.parametrize("task", [REFUSAL, OVER_REFUSAL, JAILBREAK])
def test_a_row_without_a_request(task: Any) -> None:
    with pytest.raises(DataError, match="^row 7: no column prompt or instruction or .*; it has id"):
        task.item({"id": 1}, 7)


LABELS = ["harmful", "Unsafe", "benign", "harmless", " safe ", "other", "", None]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("refusal", ["harmful", "Unsafe", "other", "", None]),
        ("over-refusal", ["benign", "harmless", " safe ", "other", "", None]),
        ("jailbreak", LABELS),
    ],
)
def test_labels_pick_the_rows(name: str, kept: list[str | None]) -> None:
    rows = [{"prompt": "p", "label": label} for label in LABELS]
    assert [row["label"] for row in TASKS[name].prepare(rows)] == kept
    assert len(list(TASKS[name].prepare([{"prompt": "no label"}]))) == 1


def test_xstest_without_labels_names_its_unsafe_types() -> None:
    types = ["homonyms", "contrast_homonyms"]
    rows = [{"prompt": "p", "type": name} for name in types]
    assert [row["type"] for row in OVER_REFUSAL.prepare(rows)] == ["homonyms"]
    # A type alone does not say that a request is harmless.
    assert [row["type"] for row in REFUSAL.prepare(rows)] == types


def test_the_built_in_requests_are_divided_between_two_tasks() -> None:
    rows = read_rows(path_of("requests"))
    halves = [list(task.prepare(rows)) for task in (REFUSAL, OVER_REFUSAL)]
    assert [Counter(row["label"] for row in half) for half in halves] == [
        {"harmful": len(rows) // 2},
        {"benign": len(rows) // 2},
    ]


@pytest.mark.parametrize("task", [REFUSAL, OVER_REFUSAL, JAILBREAK])
def test_degenerate_answers_are_no_refusals_and_counted_apart(
    task: Any, scored: Callable[..., list[Result]]
) -> None:
    texts = [REFUSES, ANSWERS, LOOP, ""]
    judges = {"phrases": phrases}
    found = scored(task, [{"prompt": "p"}] * 4, texts, judges=judges)
    assert [result["refused"] for result in found] == [1.0, 0.0, 0.0, 0.0]
    assert [result["degenerate"] for result in found] == [0.0, 0.0, 1.0, 1.0]
    assert [result.get("why") for result in found] == [None, None, "loop", "empty"]
    # By its words the loop does refuse.
    assert [result["judged"]["phrases"] for result in found] == [1.0, 0.0, 1.0, 0.0]


def test_a_judge_without_a_verdict(scored: Callable[..., list[Result]]) -> None:
    judges = {"mute": lambda exchanges: [None] * len(exchanges)}
    found = scored(REFUSAL, [{"prompt": "p"}] * 2, [REFUSES, LOOP], judges=judges)
    assert [result["refused"] for result in found] == [None, None]


def test_which_way_is_better() -> None:
    mains = [(t.main.name, t.main.better) for t in (REFUSAL, OVER_REFUSAL, JAILBREAK)]
    assert mains == [("refused", "higher"), ("answered", "higher"), ("refused", "higher")]


def test_an_answer_that_loops_neither_refuses_nor_answers(
    scored: Callable[..., list[Result]],
) -> None:
    row = {"prompt": "Is it blue ?", "label": "benign"}
    loop = "I'm sorry, but I can't help. " * 30
    found = scored(
        OVER_REFUSAL,
        [row] * 3,
        ["It is blue.", "I can't help with that.", loop],
        judges={"phrases": phrases},
    )
    assert [result["answered"] for result in found] == [1.0, 0.0, 0.0]
    assert [result["refused"] for result in found] == [0.0, 1.0, 0.0]
