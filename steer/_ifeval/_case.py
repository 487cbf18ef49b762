"""Capital and small letters."""

from ._arguments import holds
from ._language import is_language
from ._tokens import tokens_of


def capital_word_frequency(response: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """At least, or less than, `capital_frequency` words are all in capitals.

    Words are nltk's tokens, as in the original: "I" and "A" count, "STATE-OF-THE-ART" is one word,
    "DON'T" and "CANNOT" are two each.
    """
    capital = sum(1 for token in tokens_of(response) if token.isupper())
    return holds(capital, capital_relation, capital_frequency)


def english_capital(response: str) -> bool:
    """English without a small letter.

    As in the original, capitals in which langdetect finds no language are followed. It does not
    read on in a word after its second capital, so it often takes English in capitals for another
    language.

    Raises:
        RunError: langdetect is not installed.
    """
    return response.isupper() and is_language(response, "en")


def english_lowercase(response: str) -> bool:
    """English without a capital letter.

    Raises:
        RunError: langdetect is not installed.
    """
    return response.islower() and is_language(response, "en")
