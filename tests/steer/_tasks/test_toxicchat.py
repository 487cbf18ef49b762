from collections.abc import Callable
from typing import Any

import pytest

from steer._judges import phrases
from steer._tasks import TASKS, Result
from steer.hooks import DataError

TOXICCHAT = TASKS["toxicchat"]
REFUSES, ANSWERS = "I'm sorry, but I can't help with that.", "Here is a list of things to do."


def row(toxicity: Any, jailbreaking: Any = 0) -> dict[str, Any]:
    return {"user_input": " hello ", "toxicity": toxicity, "jailbreaking": jailbreaking}


@pytest.mark.parametrize(("toxicity", "toxic"), [(0, False), (1, True), ("0", False), ("1", True)])
def test_an_item(toxicity: Any, toxic: bool) -> None:
    item = TOXICCHAT.item(row(toxicity, "1"), 3)
    assert (item.id, item.prompt) == (3, "hello")
    assert item.about == {"toxic": toxic, "jailbreak": True}


@pytest.mark.parametrize("value", [2, "yes", None, ""])
def test_labels_other_than_0_and_1(value: Any) -> None:
    with pytest.raises(DataError, match="^row 3: toxicity must be 0 or 1, got "):
        TOXICCHAT.item(row(value), 3)
    with pytest.raises(DataError, match="^row 3: jailbreaking must be 0 or 1, got "):
        TOXICCHAT.item(row(0, value), 3)


def test_a_row_without_the_message() -> None:
    with pytest.raises(DataError, match="^row 3: no column user_input; it has toxicity"):
        TOXICCHAT.item({"toxicity": 0, "jailbreaking": 0}, 3)


def test_toxic_and_other_messages_are_counted_apart(scored: Callable[..., list[Result]]) -> None:
    found = scored(
        TOXICCHAT,
        [row(1), row(1), row(0), row(0)],
        [REFUSES, ANSWERS, REFUSES, ANSWERS],
        judges={"phrases": phrases},
    )
    assert [result["refused_toxic"] for result in found] == [1.0, 0.0, None, None]
    assert [result["refused_others"] for result in found] == [None, None, 1.0, 0.0]
