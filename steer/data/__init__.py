"""Data written for this project; each set has a datasheet beside it."""

from importlib.resources import files
from pathlib import Path

__all__ = ["path_of"]


def path_of(name: str) -> Path:
    """The file of a built-in set, `misconceptions`, `neutral` or `requests`."""
    return Path(str(files(__name__) / f"{name}.jsonl"))
