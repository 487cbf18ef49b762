import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from steer.data import path_of

KEYS = ["id", "topic", "genre", "text"]
FILLER = """
delve|testament to|nestled|tapestry|bustling|vibrant|seamless|elevate|in today's|when it comes to|
in conclusion|it is important to|not only a|as an ai|i cannot|i can't help|i'm sorry, but|
contrary to popular|myth|misconception
"""
STOP_WORDS = """
about anything been come comes could does from have into like make makes many mean means more most
much only other over people round should some someone something than that their them there they
thing things this what when where which will with would your
"""
Rows = list[dict[str, Any]]
Gram = tuple[str, ...]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    data = path_of("neutral").read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"}\n")
    return data.decode("utf-8").removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def rows(lines: list[str]) -> Rows:
    return [json.loads(line) for line in lines]


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.casefold())


def _grams(text: str) -> set[Gram]:
    words = _words(text)
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def _sentences(text: str) -> list[str]:
    return re.split(r'(?<=[.!?])"?\s+', text)


def _content(text: str) -> set[str]:
    return {word for word in _words(text) if len(word) > 3} - set(STOP_WORDS.split())


def test_size_and_shape(lines: list[str], rows: Rows) -> None:
    assert lines == [json.dumps(row) for row in rows]
    assert [row["id"] for row in rows] == list(range(96))
    for row in rows:
        assert list(row) == KEYS
        assert row["text"] == " ".join(row["text"].split())


def test_every_genre_meets_every_topic_once(rows: Rows) -> None:
    assert len({row["genre"] for row in rows}) == 12
    assert len({row["topic"] for row in rows}) == 8
    assert len({(row["genre"], row["topic"]) for row in rows}) == 96


def test_a_run_of_twelve_has_every_genre(rows: Rows) -> None:
    for start in range(0, 96, 12):
        run = rows[start : start + 12]
        assert len({row["genre"] for row in run}) == 12
        topics = Counter(row["topic"] for row in run)
        assert sorted(topics.values()) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_texts_are_equally_long(rows: Rows) -> None:
    totals: Counter[str] = Counter()
    for row in rows:
        count = len(row["text"].split())
        assert 70 <= count <= 110, (row["id"], count)
        totals[row["genre"]] += count
    assert max(totals.values()) / min(totals.values()) <= 1.1


def test_sentences_are_not(rows: Rows) -> None:
    for row in rows:
        counts = [len(sentence.split()) for sentence in _sentences(row["text"])]
        assert len(counts) >= 4, row["id"]
        assert max(counts) >= 1.5 * min(counts), (row["id"], counts)
        assert max(counts) <= 40, (row["id"], counts)


def test_only_letters_digits_and_ordinary_punctuation(rows: Rows) -> None:
    for row in rows:
        odd = re.sub(r"""[A-Za-z0-9 .,;:?!'"-]""", "", row["text"])
        assert not odd, (row["id"], odd)
        assert row["text"].count('"') % 2 == 0, row["id"]
        assert re.match(r'"?[A-Z]', row["text"]), row["id"]
        assert row["genre"] == "letter" or re.search(r'[.?]"?$', row["text"]), row["id"]


def test_no_two_begin_alike(rows: Rows) -> None:
    openings = Counter(tuple(_words(row["text"])[:3]) for row in rows)
    assert [opening for opening, count in openings.items() if count > 1] == []


def test_no_two_share_a_phrase(rows: Rows) -> None:
    grams = [_grams(row["text"]) for row in rows]
    for one, two in combinations(range(96), 2):
        assert grams[one].isdisjoint(grams[two]), (one, two, grams[one] & grams[two])


def test_no_filler_and_no_talk_of_myths(rows: Rows) -> None:
    pattern = re.compile(r"\b(" + FILLER.replace("\n", "") + r")\b", re.I)
    assert pattern.search("A testament to her skill")
    for row in rows:
        assert not pattern.search(row["text"]), (row["id"], pattern.search(row["text"]))


def test_no_phrase_or_subject_of_the_misconceptions(rows: Rows) -> None:
    lines = path_of("misconceptions").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    questions = [json.loads(line) for line in lines]
    _assert_apart(rows, questions)


def test_no_phrase_or_subject_of_truthfulqa(rows: Rows, truthfulqa: Path) -> None:
    lines = truthfulqa.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    questions = [json.loads(line) for line in lines]
    assert len(questions) >= 600
    _assert_apart(rows, questions)


def _assert_apart(rows: Rows, questions: Rows) -> None:
    """No five words in a row, and no sentence with over half of a question's content words."""
    texts = [(_grams(row["text"]), _sentences(row["text"])) for row in rows]
    sentences = [[_content(sentence) for sentence in found] for _, found in texts]
    theirs: set[Gram] = set()
    for question in questions:
        for answers in (question["correct_answers"], question["incorrect_answers"]):
            theirs.update(*map(_grams, answers))
        theirs |= _grams(question["question"])
        asked = _content(question["question"])
        for words in (words for found in sentences for words in found):
            assert len(asked) < 3 or len(asked & words) <= len(asked) / 2, (question, words)
    for row, (grams, _) in zip(rows, texts, strict=True):
        assert grams.isdisjoint(theirs), (row["id"], grams & theirs)
