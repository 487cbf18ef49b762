import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("STEER_TEST_DATA", Path(__file__).parents[3].parent / "shared" / "data"))


@pytest.fixture(scope="session")
def gsm8k() -> list[dict[str, Any]]:
    return _rows("gsm8k_test.jsonl")


@pytest.fixture(scope="session")
def math500() -> list[dict[str, Any]]:
    return _rows("math500.jsonl")


def _rows(name: str) -> list[dict[str, Any]]:
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not beside the checkout")
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
