"""The language of a response, as langdetect sees it."""

from functools import cache
from importlib import import_module
from typing import Any

from steer.hooks import RunError


def response_language(response: str, *, language: str) -> bool:
    """The response as a whole is in `language`, one of langdetect's codes such as "de".

    As in the original, text in which no language can be detected counts as followed. The original
    leaves langdetect unseeded, so borderline texts change sides from run to run; here the seed is
    fixed and they do not.

    Raises:
        RunError: langdetect is not installed.
    """
    return is_language(response, language)


def is_language(text: str, language: str) -> bool:
    """Whether the text is in the language, or in none that can be detected."""
    langdetect = _langdetect()
    detector = _factory().create()
    detector.append(text)
    try:
        return bool(detector.detect() == language)
    except langdetect.LangDetectException:
        return True


@cache
def _factory() -> Any:
    # A factory of our own carries the seed: the module's is shared with whoever imports it.
    langdetect = _langdetect()
    factory = langdetect.DetectorFactory()
    factory.load_profile(langdetect.PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory


def _langdetect() -> Any:
    try:
        return import_module("langdetect")
    except ImportError as error:
        raise RunError(
            "ifeval: langdetect, which tells the language of a response, is not installed; "
            'run `pip install "steer[eval]"`'
        ) from error
