"""Sentences as nltk's Punkt model cuts them, without nltk or the model."""

import re

# Abbreviations that Punkt's English model knows, a newspaper's, with the letters that it takes for
# initials. Others, such as "e.g." and "etc.", end a sentence for it.
_ABBREVIATIONS = """
a.m adm ariz aug ave bros c calif co col colo conn corp cos ct d d.c dec dr e f feb fla fri ft g ga
gen h ill inc j j.k j.p j.r jan jr k kan ky l l.a lt ltd m m.b.a maj messrs mg mich minn mr mrs ms
n n.c n.h n.j n.m n.y nev nov oct ok okla ore p p.m pa ph.d prof r r.i rep reps s s.c sen sep sept
sr st t tenn tues u.k u.n u.s u.s.a v va vs vt w w.va wash wed wis yr
"""
# Words that start a sentence, if in capitals, even after an abbreviation or an ellipsis.
_STARTERS = """
according although among both but despite even finally he here however i if in indeed instead it
many meanwhile moreover most nevertheless nonetheless nor note please remember similarly since so
some thanks the there therefore these they this though thus under when while yes yet your
"""
_KNOWN = frozenset(_ABBREVIATIONS.split())
_FIRST = frozenset(_STARTERS.split())

_QUOTES = "'\u2018\u2019\u201c\u201d\u00ab\u00bb"  # with the curly and the angular ones
# A word up to its last full stop or the like, with the mark or word that follows it.
_CANDIDATE = re.compile(rf"(?<!\S)(\S*[.?!])(?=([)\";}}\]*:@({{\[?!{_QUOTES}])|\s+(\S+))")
_CUT = re.compile(rf"[)\";}}\]*:@({{\[]|--|(?=[{_QUOTES}])")
_CLOSING = re.compile(rf"\s*[\")\]}}{_QUOTES}]+(?=\s|--|$)")
_NUMBER = re.compile(r"[.,]?\d[\d,.-]*\.")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, after Punkt (Kiss and Strunk 2006) as nltk applies it.

    A sentence ends with `?` or `!`, or with a full stop unless that is part of an abbreviation, an
    initial or a number before a small letter. As in nltk, the end of a line ends nothing, the "1."
    of a list is a sentence, and so are asterisks after the last full stop.

    It differs from nltk where Punkt asks its trained table of 20,000 words how a word is usually
    written: after an abbreviation or an ellipsis only some common words start a sentence here, and
    which letters are initials does not depend on the next word. Nor is the "!!!" of "way !!!" a
    sentence. Of 4,460 prompts and worked solutions, 4,443 have as many sentences as in nltk 3.10.
    """
    parts = []
    start = 0
    for found in _CANDIDATE.finditer(text):
        if _ends(found[1], found[2] or found[3]):
            closing = _CLOSING.match(text, found.end())
            end = closing.end() if closing else found.end()
            parts.append(text[start:end].strip())
            start = end
    return [part for part in [*parts, text[start:].strip()] if part]


def _ends(word: str, following: str) -> bool:
    """Whether a sentence ends with a word that ends with a stop, given what follows it."""
    if "?" in word or "!" in word:
        return True
    token = _CUT.split(word)[-1].lstrip("-,&#`")
    name = token[:-1].lower()
    starts = following[0].isupper() and re.split(r"\W", following)[0].lower() in _FIRST
    if token.endswith(".."):
        return starts
    if len(name) == 1 and name.isalpha():
        return name not in _KNOWN and not following[0].islower()
    if name.split("-")[-1] in _KNOWN:
        return starts
    if _NUMBER.fullmatch(token):
        return not (following[0].islower() or following in {*";:,.!?"})
    return True
