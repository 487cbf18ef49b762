from typing import Any

import pytest

from steer._answers import last_number, same_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        # 1. GSM8K's own form, whatever else is there
        ("16 - 3 = <<16-3=13>>13 eggs.\n#### 13", "13"),
        ("#### 13\n\nQuestion: what is 2 + 2?", "13"),
        ("#### 13\n\\boxed{14} The answer is 15.", "13"),
        ("#### 1\n#### 2\nor 3", "2"),
        ("#### 5 + 3", "5"),
        ("####-1,234.50.", "-1234.50"),
        ("#### $1,000", "1000"),
        ("#### **42**", "42"),
        (r"#### \$70,000", "70000"),
        ("#### -$3", "-3"),
        ("#### $-3", "-3"),
        ("####\n\n18", "18"),
        # a heading is no answer
        ("#### Step 2: add\n1 + 2 = 3\nThe answer is 3.", "3"),
        # 2. the box
        (r"\boxed{18} dollars for 7 days", "18"),
        (r"\boxed{18} then \boxed{x = 20}", "20"),
        (r"\boxed{\$18.50}", "18.50"),
        (r"\boxed{\frac{3}{4}} of 12", "3/4"),
        (r"\boxed{-\dfrac{3}{4}}", "-3/4"),
        (r"\boxed{5\text{ cm}^2}", "5"),
        (r"\boxed{1{,}234} \approx 1", "1234"),
        (r"\boxed{\text{none}} The answer is 9, not 8.", "9"),
        # 3. words
        ("The answer is 18. She has 7 left.", "18"),
        ("Answer: 18 (from 9 x 2)", "18"),
        ("**Answer:** $18 of 20", "18"),
        ("**Answer**: 18 of 20", "18"),
        ("The answer is 3. No, the answer is: 4, not 5", "4"),
        ("The answer is $-5$, from 7", "-5"),
        # 4. the last number
        ("9 x 2 = 18 dollars.", "18"),
        ("It is 1,234.00.", "1234.00"),
        ("That leaves 7-5 eggs", "5"),
        ("between 10-20", "20"),
        ("it fell by -2%", "-2"),
        ("it fell by \N{MINUS SIGN}2 °C", "-2"),
        ("they have 3,5", "5"),
        ("half, .5", ".5"),
        ("3/4 of it", "3/4"),
        ("that is 16/4.", "16/4"),
        ("12 cm^2", "12"),
        ("12 cm^{2}", "12"),
        ("x_1 = 4 and x_2", "4"),
        ("no number", None),
        ("", None),
        ("####", None),
        (r"\boxed{", None),
    ],
)
def test_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1,234.00", "1234"),
        ("$5", "5"),
        (r"\$5.", "5"),
        ("50%", "50"),
        ("0.5", "1/2"),
        (".5", "0.50"),
        (r"\frac{-1}{2}", "-0.5"),
        ("-0", "0"),
        ("007", "7"),
        ("\N{MINUS SIGN}3", "-3"),
        ("6/4", "3/2"),
    ],
)
def test_equal_numbers(a: str, b: str) -> None:
    assert same_number(a, b)
    assert same_number(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("5", "-5"),
        ("0.1", "0.10000000000000001"),  # the same float
        ("10000000000000001", "10000000000000000"),  # the same float
        ("0.333333", "1/3"),
        ("1/0", "1/0"),
        ("five", "five"),
        ("", ""),
        ("1e999999999", "1e999999999"),
        ("٣", "3"),
        ("1/2/3", "1/6"),
        ("9" * 5000, "9" * 5000),  # beyond what int() reads
    ],
)
def test_unequal_numbers(a: str, b: str) -> None:
    assert not same_number(a, b)
    assert not same_number(b, a)


def test_every_solution_of_gsm8k(gsm8k: list[dict[str, Any]]) -> None:
    assert len(gsm8k) == 300
    for row in gsm8k:
        assert last_number(row["answer"]) == row["final_answer"]
        assert last_number(row["answer"].replace("#### ", "")) == row["final_answer"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("**Answer:** 7 + 8 = 15", "15"),
        ("So the final answer is 5 + 6 = 11.", "11"),
        ("The answer is 5. Then x = 3", "5"),  # the equals sign of another sentence
        ("Answer: x = y, so 4", "4"),
    ],
)
def test_a_sum_after_the_phrase_is_read_to_its_end(text: str, number: str) -> None:
    assert last_number(text) == number
