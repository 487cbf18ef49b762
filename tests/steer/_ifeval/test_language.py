import sys
from importlib import import_module

import pytest

from steer._ifeval import CHECKERS, _language, follows
from steer.hooks import SteerError

langdetect = import_module("langdetect")  # has no stubs
LANGUAGE = "language:response_language"
# Unseeded, langdetect 1.0.9 takes it for Somali 36 times of 60, for Czech 24.
BORDERLINE = "taxi hotel"
NEEDING = [
    (LANGUAGE, {"language": "de"}, "Tee"),
    ("change_case:english_capital", {}, "TEA"),
    ("change_case:english_lowercase", {}, "tea"),
]


def test_text_without_a_language_follows_as_in_the_original() -> None:
    assert CHECKERS[LANGUAGE]("123 !!!", language="de")
    # langdetect drops addresses.
    assert CHECKERS["change_case:english_capital"]("A@B.COM")
    assert CHECKERS["change_case:english_lowercase"]("a@b.com")


def test_case_is_looked_at_before_language() -> None:
    assert not CHECKERS["change_case:english_lowercase"]("123 !!!")  # no cased letter at all
    assert not CHECKERS["change_case:english_lowercase"]("das wetter war gestern wirklich schön")


def test_the_same_text_always_has_the_same_language() -> None:
    # Unseeded, 40 calls agree with odds of 0.6^40 < 1e-8.
    assert len({_language.is_language(BORDERLINE, "so") for _ in range(40)}) == 1


@pytest.mark.parametrize("seed", [None, 7])
def test_the_seed_of_others_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, seed: int | None
) -> None:
    monkeypatch.setattr(langdetect.DetectorFactory, "seed", seed)
    _language._factory.cache_clear()
    CHECKERS[LANGUAGE]("Ein kurzer Satz.", language="de")
    assert langdetect.DetectorFactory.seed == seed
    assert _language._factory().create().seed == 0


@pytest.mark.parametrize(("name", "arguments", "response"), NEEDING)
def test_without_langdetect_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, str], response: str
) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    with pytest.raises(SteerError, match=r'pip install "steer\[eval\]"'):
        follows(name, arguments, "Write.", response)


def test_other_instructions_need_no_langdetect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    assert follows("punctuation:no_comma", {}, "Write.", "Tea.")
