"""How the files of the pinned wheels become rows; their bytes are known, so nothing is checked."""

import json
from pathlib import PurePosixPath

from steer._files import Row, rows_of


def advbench(_: str, data: bytes) -> list[Row]:
    """PyRIT's YAML: the behaviours, and the harm categories that a model gave them."""
    import yaml  # type: ignore[import-untyped]

    seeds = yaml.safe_load(data)["seeds"]
    return [{"instruction": seed["value"], "categories": seed["harm_categories"]} for seed in seeds]


def instructions(_: str, data: bytes) -> list[Row]:
    """One a line."""
    lines = data.decode().split("\n")
    return [{"instruction": line.strip()} for line in lines if line.strip()]


def prompts(_: str, data: bytes) -> list[Row]:
    """A JSON list of texts."""
    return [{"prompt": prompt} for prompt in json.loads(data)]


def categorised(path: str, data: bytes) -> list[Row]:
    """JSONL, one file a category."""
    return [row | {"category": PurePosixPath(path).stem} for row in rows_of(path, data)]


def refusals(path: str, data: bytes) -> list[Row]:
    """PyRIT's CSV, which begins with comments; score 1 is a refusal."""
    while data.startswith(b"#"):
        data = data.partition(b"\n")[2]
    return [
        {
            "prompt": row["objective"],
            "response": row["assistant_response"],
            "refused": row["human_score"] == "1",
            "set": PurePosixPath(path).stem,
        }
        for row in rows_of(path, data)
    ]
