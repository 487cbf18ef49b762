import os
import re
from pathlib import Path

import pytest

from steer._files import read_rows, sha256, write_text
from steer.hooks import DataError


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_jsonl(tmp_path: Path, end: str, bom: str) -> None:
    text = bom + end.join(['{"a": 1}', "", "  ", '{"a": "é", "b": [2]}']) + end
    assert read_rows(_file(tmp_path, "x.jsonl", text)) == [{"a": 1}, {"a": "é", "b": [2]}]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e"])
def test_only_a_newline_ends_a_row(tmp_path: Path, character: str) -> None:
    text = f"one{character}two"
    escaped = text if character >= " " else text.replace(character, f"\\u{ord(character):04x}")
    assert read_rows(_file(tmp_path, "x.jsonl", f'{{"a": "{escaped}"}}\n')) == [{"a": text}]
    assert read_rows(_file(tmp_path, "x.csv", f"a,b\n{text},2\n")) == [{"a": text, "b": "2"}]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_csv(tmp_path: Path, end: str, bom: str) -> None:
    text = bom + end.join(["Question,Best", '"one\ntwo, ""three""",x', "é,"]) + end
    assert read_rows(_file(tmp_path, "x.CSV", text)) == [
        {"Question": 'one\ntwo, "three"', "Best": "x"},
        {"Question": "é", "Best": ""},
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_plain_text_is_one_row(tmp_path: Path, end: str, bom: str) -> None:
    text = bom + end.join(['{"a": 1}', " é,", ""])
    assert read_rows(_file(tmp_path, "x.TXT", text)) == [{"text": '{"a": 1}\n é,\n'}]


@pytest.mark.parametrize(
    "text", ['\ufeff\n[{"a": 1},\n {"a": [2]}]\n', '{"a": 1}\n{"a": [2]}\n'], ids=["list", "lines"]
)
def test_json_is_a_list_or_lines(tmp_path: Path, text: str) -> None:
    assert read_rows(_file(tmp_path, "x.json", text)) == [{"a": 1}, {"a": [2]}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", "", "no rows in it"),
        ("x.jsonl", "\n \n", "no rows in it"),
        ("x.csv", "a,b\n", "no rows in it"),
        ("x.jsonl", '{"a": 1}\n{"a": \n', "line 2: not JSON (Expecting value)"),
        ("x.jsonl", '{"a": 1}\n\n{"a": 1} x\n', "line 3: not JSON (Extra data)"),
        ("x.jsonl", '{"a": 1}\n[1]\n', "line 2: expected an object, got list"),
        ("x.jsonl", '"text"\n', "line 1: expected an object, got str"),
        ("x.csv", "a,b\n1,2\n3\n", "line 3: expected 2 fields as in the header"),
        ("x.csv", "a,b\n1,2,3\n", "line 2: expected 2 fields as in the header"),
        ("x.csv", 'a,b\n"1\n2",3\n4,5,6\n', "line 4: expected 2 fields as in the header"),
        ("x.csv", 'a,b\n1,"2"3\n', "line 2: not CSV (',' expected after '\"')"),
        ("x.csv", 'a,b\n1,"2\n', "line 2: not CSV (unexpected end of data)"),
        ("x.txt", " \n", "no rows in it"),
        ("x.json", "[]", "no rows in it"),
        ("x.json", "", "no rows in it"),
        ("x.json", '[{"a": 1},\n{"a" 2}]', "line 2: not JSON (Expecting ':' delimiter)"),
        ("x.json", '[{"a": 1}, "b"]', "item 2: expected an object, got str"),
        ("x.json", '"text"', "line 1: expected an object, got str"),
        ("x.txt", b"a\xff", "not UTF-8 text (invalid start byte at byte 1)"),
        ("x.jsonl", b'{"a": "\xff"}\n', "not UTF-8 text (invalid start byte at byte 7)"),
        ("x.csv", b"a\n\xe9", "not UTF-8 text (unexpected end of data at byte 2)"),
    ],
)
def test_an_error_names_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = _file(tmp_path, name, content)
    separator = ", " if message.startswith(("line", "item")) else ": "
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}{separator}{message}')}$"):
        read_rows(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(DataError, match=rf"^no file {path}$"):
            read_rows(path)


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    # The SHA-256 of "abc" in FIPS 180-4's examples.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(_file(tmp_path, "x", b"abc")) == expected


def test_write_text(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.json"
    write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    write_text(path, "second\n")
    assert path.read_bytes() == b"second\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = _file(tmp_path, "x.txt", "old")
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        write_text(path, "new text, then a broken character: \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def replace(source: str, target: Path) -> None:
        seen.append((Path(source).read_text(), Path(target).read_text()))
        raise OSError("no room")

    path = _file(tmp_path, "x.txt", "old")
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="no room"):
        write_text(path, "new")
    assert seen == [("new", "old")]
    assert list(tmp_path.iterdir()) == [path]
