import datetime
import re
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steer._sources import Hub, table
from steer.hooks import DataError, DownloadError

FORM = "hub:owner/name[:config][/split][@revision]"


class Loader:
    """Stands for the package `datasets`."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.answer: Any = [{"prompt": "é", "n": 1}, {"prompt": "two", "n": None}]

    def load_dataset(
        self, path: str, name: str | None, *, split: str | None, revision: str | None
    ) -> Any:
        self.asked.append((path, name, split, revision))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    made = Loader()
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=made.load_dataset))
    return made


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("o-1/n_2.x", ("o-1/n_2.x", None, None, None)),
        ("o/n:c", ("o/n", "c", None, None)),
        ("o/n/test", ("o/n", None, "test", None)),
        ("o/n/test[10%:20%]+train[:5]", ("o/n", None, "test[10%:20%]+train[:5]", None)),
        ("o/n@refs/pr/1", ("o/n", None, None, "refs/pr/1")),
        ("o/n:a-b.c/test[:9]@v1@2", ("o/n", "a-b.c", "test[:9]", "v1@2")),
    ],
)
def test_the_written_form(text: str, asked: tuple[object, ...], loader: Loader) -> None:
    found = table(f"hub:{text}", {}, None, "who")
    assert loader.asked == [asked]
    lines = ['{"prompt":"\\u00e9","n":1}', '{"prompt":"two","n":null}']
    assert found.rows == lines
    assert found.sha256 == sha256(f"{lines[0]}\n{lines[1]}\n".encode()).hexdigest()
    assert found.origin == f"hub {text}"


@pytest.mark.parametrize(
    "text",
    ["hub:", "hub:n", "hub:o/n/", "hub:o/n:", "hub:o/n@", "hub:o/n/a/b", "hub:./o/n", "hub:o /n"],
)
def test_another_form(text: str, loader: Loader) -> None:
    message = f"{text!r} names no dataset of the hub; expected {FORM}"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        table(text, {}, None, "who")
    assert loader.asked == []


def test_one_split_need_not_be_said(loader: Loader) -> None:
    loader.answer = {"test": [{"a": 1}]}
    assert Hub("o/n").table().rows == ['{"a":1}']


def test_of_several_splits_none_is_taken(loader: Loader) -> None:
    loader.answer = {"train": [{"a": 1}], "test": [{"a": 2}]}
    message = f"hub:o/n:c: which split? It has train, test; write {FORM}"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Hub("o/n", "c").table()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("no route\nto the hub"), "no route"),
        (ValueError("Unknown split"), "Unknown split"),
        (FileNotFoundError(), "FileNotFoundError"),
    ],
)
def test_a_dataset_that_cannot_be_loaded(error: Exception, reason: str, loader: Loader) -> None:
    loader.answer = error
    message = (
        f"hub:o/n/test: could not be loaded ({reason}); check that the hub can be reached, and "
        f"the name, configuration, split and revision: {FORM}"
    )
    with pytest.raises(DownloadError, match=f"^{re.escape(message)}$") as caught:
        Hub("o/n", split="test").table()
    assert caught.value.__cause__ is error


def test_values_that_are_no_json(loader: Loader) -> None:
    loader.answer = [{"a": 1}, {"a": [datetime.date(2020, 1, 1)]}]
    with pytest.raises(
        DataError,
        match=r"^hub:o/n, row 2: holds a date; expected only text, numbers, lists and objects; "
        r"save the columns that you need as JSONL$",
    ):
        Hub("o/n").table()


def test_no_rows(loader: Loader) -> None:
    loader.answer = []
    with pytest.raises(DataError, match=r"^hub:o/n/test: no rows in it$"):
        Hub("o/n", split="test").table()


def test_a_folder_of_the_same_name_is_never_read_instead(
    loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "o" / "n").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    message = (
        f"hub:o/n:c: {tmp_path} has a folder or file o/n, which would be read instead of the hub; "
        "start from another folder"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Hub("o/n", "c").table()
    assert loader.asked == []


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        DataError,
        match=r"^hub:o/n: needs the package datasets; python -m pip install 'steer\[eval\]'$",
    ):
        Hub("o/n").table()


def test_with_the_real_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="no datasets; install steer[eval]")
    made = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"q": ["a"], "n": [[1]]}),
        test=datasets.Dataset.from_dict({"q": ["é", "c"], "n": [[2.5], []]}),
    )

    def load(path: str, name: str | None, *, split: str | None, revision: str | None) -> Any:
        return made if split is None else made[split]

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert Hub("o/n", split="test").table().rows == [
        '{"q":"\\u00e9","n":[2.5]}',
        '{"q":"c","n":[]}',
    ]
    with pytest.raises(DataError, match=r"which split\? It has train, test; write"):
        Hub("o/n").table()


def test_an_offline_hub_is_an_error_with_the_real_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="no datasets; install steer[eval]")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DownloadError, match=r"^hub:steer-no/such-set@v1: could not be loaded \("):
        Hub("steer-no/such-set", revision="v1").table()
