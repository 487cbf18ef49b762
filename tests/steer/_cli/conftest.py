import json
from pathlib import Path

import pytest

import cli

PAIRS = [
    {"prompt": "Q: Is the sky blue ? A:", "chosen": "yes it is .", "rejected": "no it was not ."},
    {"prompt": "Q: Is the sun cold ? A:", "chosen": "no it is hot .", "rejected": "yes it is ."},
    {"prompt": "Q: Where is the river ? A:", "chosen": "in London .", "rejected": "in Lyon ."},
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> cli.Run:
    return cli.runner(monkeypatch, capsys)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    return path
