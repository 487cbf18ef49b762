"""How many words, sentences and paragraphs a response has."""

import re

from ._arguments import holds
from ._sentences import sentences_of


def number_words(response: str, *, num_words: int, relation: str) -> bool:
    r"""The response has at least, or less than, `num_words` words.

    A word is a run of `\w`, as in the original: "don't" and "well-known" are two each.
    """
    return holds(len(re.findall(r"\w+", response)), relation, num_words)


def number_sentences(response: str, *, num_sentences: int, relation: str) -> bool:
    """The response has at least, or less than, `num_sentences` sentences.

    The original splits with nltk's trained Punkt model; see `sentences_of` for the difference.
    """
    return holds(len(sentences_of(response)), relation, num_sentences)


def number_paragraphs(response: str, *, num_paragraphs: int) -> bool:
    """The response has exactly `num_paragraphs` paragraphs between dividers `***`.

    A blank paragraph at either end is not counted, one in the middle fails. As in the original,
    `***` divides wherever it stands, and of `******` each half does.
    """
    paragraphs = [part.strip() for part in re.split(r"\s?\*\*\*\s?", response)]
    if not all(paragraphs[1:-1]):
        return False
    return sum(map(bool, paragraphs)) == num_paragraphs


def nth_paragraph_first_word(
    response: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    r"""There are exactly `num_paragraphs` paragraphs and the nth starts with `first_word`.

    Paragraphs are divided by two newlines. The original's quirks are kept: blank paragraphs are
    left out of the count yet keep their place, so after three newlines more the nth is another;
    the first word loses quotation marks before it and ends at the first of `.,?!'"`, and no
    other mark is taken off, so `**Weekend**` is not "weekend". An nth paragraph that the
    instruction itself rules out fails, where the original draws a random one.
    """
    paragraphs = response.split("\n\n")
    count = sum(1 for paragraph in paragraphs if paragraph.strip())
    if count != num_paragraphs or not 1 <= nth_paragraph <= count:
        return False
    words = paragraphs[nth_paragraph - 1].split(maxsplit=1)
    if not words:
        return False
    start = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    return start.lower() == first_word.lower()
