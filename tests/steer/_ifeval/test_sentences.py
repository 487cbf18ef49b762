import pytest

from steer._ifeval._sentences import sentences_of
from steer._ifeval._tokens import tokens_of


@pytest.mark.parametrize(
    "sentences",
    [
        [],
        ["No stop at all"],
        ["One.", "Two!", "Three?", "four"],
        ["Lines\nend nothing\n\nat all.", "But stops do."],
        ["Dr. Lee met Mrs. May in the U.S. Senate at 5 p.m. on Fri. the 3rd."],
        ["He moved to the U.S.", "He liked it."],  # a capital "He" starts a sentence
        ["J. K. Rowling wrote.", "You read."],
        ["Plan B.", "Then C is left."],
        ["Then plan b. was left."],
        ["It cost 3.50 at a.b.com today.", "Yes."],
        ["1.", "Tea\n2.", "Milk"],  # the number of a list item is a sentence
        ["It came in 2. half was lost."],
        ["See e.g.", "the first."],  # not among Punkt's abbreviations
        ["Wait... for it.", "Then go."],
        ["Wait...", "The end."],
        ["Wait... Ann said."],
        ["Wait!...", "said Ann."],
        ["Wait?...", "said Ann."],
        ['"Who?"', "he asked."],
        ["(So it is.)", "Good."],
        ["“Go.”", "They went."],
        ["What?!", "No!!!", "Yes."],
        ["**Tea.", "** Milk."],  # asterisks do not close
        ["It can't.", "You must."],  # "t." alone would be an initial
        ["vice-gen. Lee spoke."],
        ["#Dr. Lee spoke."],
        ["It works.so far."],
    ],
)
def test_sentences(sentences: list[str]) -> None:
    assert sentences_of(" ".join(sentences)) == sentences


def test_white_space_around_makes_no_sentence() -> None:
    assert sentences_of(" \n\t") == []
    assert sentences_of("\n Tea. \n ") == ["Tea."]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Tea, milk; (eggs) & 1,000 more.", "Tea milk eggs 1,000 more"),
        ("It's Ann's; we'll see, I'm sure.", "It 's Ann 's we 'll see I 'm sure"),
        ("DON'T! You cannot, gimme", "DO N'T You can not gim me"),
        ("isn\u2019t it", "isn t it"),
        ("U.S. law. It's IT'S.", "U.S. law It 's IT 'S"),
        ("a--b...c well-known", "a b c well-known"),
        ("time: 10:30 **now**", "time 10:30 now"),
        ("I wanna go, wannabe", "I wan na go wannabe"),
        ("'quoted' \"so\" ''too''", "'quoted' so too"),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert tokens_of(text) == tokens.split()
