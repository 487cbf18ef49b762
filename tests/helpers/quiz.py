"""A dozen questions in words that the tiny tokenizer knows, in TruthfulQA's shape."""

import json
from pathlib import Path
from typing import Any

_FACTS = [
    ("sky", "blue", "green", "red"),
    ("sea", "blue", "black", "white"),
    ("sun", "hot", "cold", "small"),
    ("moon", "white", "green", "hot"),
    ("fire", "hot", "ice", "blue"),
    ("ice", "cold", "fire", "old"),
    ("cat", "small", "big", "green"),
    ("dog", "not a cat", "a cat", "a bird"),
    ("bird", "fast", "slow", "a fish"),
    ("fish", "in the sea", "in the sky", "in the sun"),
    ("river", "in London", "in the moon", "hot"),
    ("London", "not Paris", "Paris", "a dog"),
]


def rows(count: int = 12) -> list[dict[str, Any]]:
    """The first `count` questions, each with two or three true answers and two false ones."""
    return [
        {
            "question": f"What is the {thing} ?",
            "category": "things",
            "best_answer": right,
            "correct_answers": [right, f"the {thing} is {right}", *(["yes"] if n % 2 else [])],
            "incorrect_answers": [wrong, f"it is {other} ."],
        }
        for n, (thing, right, wrong, other) in enumerate(_FACTS[:count])
    ]


def write(folder: Path, count: int = 12) -> Path:
    """The same as a JSONL file."""
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(count)))
    return path
