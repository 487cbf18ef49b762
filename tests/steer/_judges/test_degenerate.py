import random

import pytest

from steer._judges import degenerate, repetition

PROSE = (
    "The harbour was quiet that morning. Two boats had left before the light, and a third lay"
    " on its side in the mud, where a man with a bucket was scraping weed from the planks."
    " Nobody spoke to him. When the church bell rang nine he put the bucket down, looked at"
    " the sky for a while, and went home to his breakfast, which his daughter had kept warm"
    " beside the stove."
)
ORDINARY = [
    "42",
    "Paris.",
    "No.",
    "7",
    "!",
    "\u2764",
    PROSE,
    "1. Milk\n2. Eggs\n3. Flour\n4. Butter\n5. Sugar\n6. Salt",
    "| x | y |\n|---|---|\n| 0 | 0 |\n| 0 | 0 |\n| 0 | 0 |\n| 0 | 1 |\n| 1 | 1 |",
    "2 x 1 = 2\n2 x 2 = 4\n2 x 3 = 6\n2 x 4 = 8\n2 x 5 = 10\n2 x 6 = 12\n2 x 7 = 14",
    "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\n"
    "Life is but a dream.",
    "def f(x):\n    if x:\n        return list(range(x))\n    }\n    }\n    }\n    return 0",
    "1/3 = 0.33333333333333333333333333333333333333",
    "=" * 60 + "\nTitle\n" + "=" * 60,
    "$\\frac{a^2 + b^2}{c^2} = \\sqrt{\\frac{x}{y}}$, so $x = 3$.",
    "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3042\u308a\u3001\u4e16\u754c\u3067"
    "\u6700\u3082\u4eba\u53e3\u306e\u591a\u3044\u90fd\u5e02\u306e\u4e00\u3064\u3067\u3059\u3002",
    "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd\uff0c\u4e0a\u6d77\u662f\u4e2d\u56fd\u6700"
    "\u5927\u7684\u57ce\u5e02\u3002",
    "Szybki br\u0105zowy lis przeskakuje nad leniwym psem, podczas gdy s\u0142o\u0144ce zachodzi za"
    " g\u00f3rami, a dzieci wci\u0105\u017c bawi\u0105 si\u0119 na ulicy przed szko\u0142\u0105.",
    "Mae'r llwynog brown cyflym yn neidio dros y ci diog, tra bod yr haul yn machlud y tu \u00f4l"
    " i'r mynyddoedd a'r plant yn dal i chwarae.",
]
LOOPS = [
    "I am a cat. " * 10,
    "The answer is 4.\n" * 5,
    "\n,\n" * 12,
    "is " * 40,
    "1. The movement of the cape.\n2. The movement of the cape.\n3. The movement of the cape.\n"
    "4. The movement of the cape.\n5. The movement of the cape.\n",
    "".join(f"{n}. The movement of the cape. " for n in range(1, 30)),
    "A good start, and then" + "aha" * 40,
    "\u54c8" * 60,
    PROSE + " and then the sea" * 12,
    "".join(f"{word} is a word. {word} is a good word. " for word in "abcde" * 8),
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_not_flagged(text: str) -> None:
    assert degenerate(text) is None


@pytest.mark.parametrize("text", ["", " ", "\n\t \n"])
def test_nothing_is_empty(text: str) -> None:
    assert degenerate(text) == "empty"


@pytest.mark.parametrize("text", LOOPS)
def test_a_loop_is_found(text: str) -> None:
    assert degenerate(text) == "loop"


@pytest.mark.parametrize("seed", range(5))
def test_letters_in_random_order_are_gibberish(seed: int) -> None:
    letters = list(PROSE)
    random.Random(seed).shuffle(letters)
    assert degenerate("".join(letters)) == "gibberish"


@pytest.mark.parametrize(
    "text",
    [
        "\ufffd\ufffd a \ufffd",
        "a\x00b\x01c\x02",
        "#$%^&*()!!@#$%^&*()_+{}|:<>?",
        "sacwright styl cheekessori cnt AdamsSTORvals Minor addiction Wind thirteenth acidic crispy"
        " discretionary businessmenlocal useless arrange butcheraintsz familial BeyondnightPF"
        " margins resettlementmo dad'$irr fragmented\u306bauthority Genocideimonaux",
    ],
)
def test_symbols_and_random_tokens_are_gibberish(text: str) -> None:
    assert degenerate(text) == "gibberish"


def test_a_refrain_is_no_loop_and_a_chant_is() -> None:
    line = "we shall not be moved\n"
    verse = "".join(f"{line}like the {tree} by the water\n" for tree in ("oak", "elm", "ash"))
    assert degenerate(verse) is None
    assert degenerate(line * 5) == "loop"
    assert degenerate(line * 4) is None


def test_repetition_by_hand() -> None:
    # abcd bcda cdab dabc abcd bcda: six 4-grams, four of them distinct.
    assert repetition("a b c d a b c d a") == pytest.approx(1 - 4 / 6)
    assert repetition("a b c d e f g h i") == 0
    assert repetition("a a a a a a a") == 0  # seven words are too few
    assert repetition("a a a a a a a a") == pytest.approx(1 - 1 / 5)
    assert repetition("") == 0
