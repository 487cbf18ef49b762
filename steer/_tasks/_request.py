"""An item that is a question to be answered freely."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steer._files import Row
from steer.hooks import DataError


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        id: its number among the task's items, from 0.
        prompt: what is asked.
        about: what its answer is scored with.
        image: the picture that it is about.
    """

    id: int
    prompt: str
    about: Mapping[str, Any] = field(default_factory=dict)
    image: Path | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """What `rows.jsonl` says about it."""
        image = {} if self.image is None else {"image": str(self.image)}
        return {"prompt": self.prompt} | image | dict(self.about)


def text_in(row: Row, number: int, *names: str) -> str:
    """The text in the first of these columns that the row has.

    Raises:
        DataError: if it has none of them, or the text is empty.
    """
    found = next((name for name in names if name in row), None)
    if found is None:
        raise DataError(f"row {number}: no column {' or '.join(names)}; it has {', '.join(row)}")
    value = row[found]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"row {number}: {found} must be a non-empty text, got {value!r}")
    return value.strip()
