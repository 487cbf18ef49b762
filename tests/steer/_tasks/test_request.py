from pathlib import Path
from typing import Any

import pytest

from steer._tasks import Request
from steer._tasks._request import text_in
from steer.hooks import DataError


def test_the_first_column_that_the_row_has_is_taken_and_stripped() -> None:
    row = {"goal": " second ", "text": "third"}
    assert text_in(row, 0, "prompt", "goal", "text") == "second"


def test_no_such_column_is_told_with_those_that_there_are() -> None:
    with pytest.raises(DataError, match="^row 4: no column prompt or goal; it has a, b$"):
        text_in({"a": "x", "b": "y"}, 4, "prompt", "goal")


@pytest.mark.parametrize("value", ["", " \n", None, 3, ["x"]])
def test_a_column_without_text(value: Any) -> None:
    with pytest.raises(DataError, match="^row 2: prompt must be a non-empty text, got "):
        text_in({"prompt": value}, 2, "prompt")


def test_a_request_shows_its_prompt_its_picture_and_what_it_is_scored_with() -> None:
    assert Request(0, "Why?", {"gold": "3"}).shown == {"prompt": "Why?", "gold": "3"}
    shown = Request(0, "Why?", {"label": "no"}, Path("a.png")).shown
    assert shown == {"prompt": "Why?", "image": "a.png", "label": "no"}
