import json
import re
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steer._sources import BuiltIn, Table, Wheel, table
from steer.data import path_of
from steer.hooks import DataError, DownloadError

NAMED = {
    "requests": BuiltIn("requests", "a"),
    "misconceptions": BuiltIn("misconceptions", "b"),
}
ACCEPTED = (
    "expected one of requests, misconceptions, a .csv, .jsonl, .json or .txt file, or "
    "hub:owner/name[:config][/split][@revision]"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def _ask(text: str | Path | None, default: str | None = "requests") -> Table:
    return table(text, NAMED, default, "eval refusal")


def _fails(message: str, text: str | Path | None, default: str | None = "requests") -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        _ask(text, default)


@pytest.mark.parametrize(
    ("text", "default", "name"),
    [
        (None, "requests", "requests"),
        (None, "misconceptions", "misconceptions"),
        ("misconceptions", "requests", "misconceptions"),
        ("requests", None, "requests"),
    ],
)
def test_a_name_or_the_default(text: str | None, default: str | None, name: str) -> None:
    found = _ask(text, default)
    data = path_of(name).read_bytes()
    assert [json.loads(row) for row in found.rows] == [
        json.loads(line) for line in data.decode().splitlines()
    ]
    assert found.sha256 == sha256(data).hexdigest()
    assert found.origin == f"built-in {name}"


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_file(here: Path, as_path: type[str] | type[Path]) -> None:
    data = '\ufeff{"a": "é", "b": [1, null]}\r\n\r\n{"a": 0.1}\r\n'.encode()
    (here / "mine.jsonl").write_bytes(data)
    assert _ask(as_path("mine.jsonl")) == (
        ['{"a":"\\u00e9","b":[1,null]}', '{"a":0.1}'],
        sha256(data).hexdigest(),
        "file mine.jsonl",
    )


def test_half_an_emoji_in_a_file_survives(here: Path) -> None:
    (here / "mine.jsonl").write_bytes(b'{"a": "\\ud83d"}\n')
    assert _ask("mine.jsonl").rows == ['{"a":"\\ud83d"}']


def test_a_file_with_the_name_of_named_data_is_refused(here: Path) -> None:
    (here / "requests").write_text('{"a": 1}')
    _fails(
        f"eval refusal: 'requests' is both named data and a file in {here}; write ./requests for "
        "the file, or move the file away for the other",
        "requests",
    )
    assert _ask("./requests").rows == ['{"a":1}']
    assert _ask(Path("requests")).rows == ['{"a":1}']
    assert len(_ask(None).rows) == 260  # nobody wrote the name


def test_a_file_that_looks_like_a_dataset_of_the_hub_is_refused(here: Path) -> None:
    (here / "hub:a").mkdir()
    (here / "hub:a" / "b").write_text('{"a": 1}')
    _fails(
        f"eval refusal: 'hub:a/b' is both a dataset of the hub and a file in {here}; write "
        "./hub:a/b for the file, or move the file away for the other",
        "hub:a/b",
    )
    assert _ask("./hub:a/b").rows == ['{"a":1}']


def test_a_folder_with_the_name_of_named_data_is_no_file(here: Path) -> None:
    (here / "requests").mkdir()
    assert _ask("requests").origin == "built-in requests"


@pytest.mark.parametrize("text", ["request", "none.jsonl", "", "x" * 5000, "a\0b", "HUB:a/b"])
def test_a_text_that_means_nothing(text: str) -> None:
    _fails(f"eval refusal: no file and no named data {text!r}; {ACCEPTED}", text)


def test_no_default() -> None:
    _fails(f"eval refusal: needs data; {ACCEPTED}", None, None)
    with pytest.raises(DataError, match=r"^who: needs data; expected a .csv, .jsonl, .json or "):
        table(None, {}, None, "who")


def test_a_path_is_never_a_name() -> None:
    _fails("no file requests", Path("requests"))


def test_a_name_that_cannot_be_had_is_not_replaced(pip: Any, toy: Wheel) -> None:
    pip.answer = SimpleNamespace(returncode=1, stderr="no network")
    for text, default in (("toy", "requests"), (None, "toy")):
        with pytest.raises(DownloadError, match=r"^data: pip could not download toy==1.0"):
            table(text, {**NAMED, "toy": toy}, default, "who")
