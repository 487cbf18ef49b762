from typing import Any

import pytest

from steer._answers import same_answer

ROWS = r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}"


@pytest.mark.parametrize(
    ("given", "gold"),
    [
        # spelling
        (r"\left( 3,\dfrac{\pi}{2}\right)", r"(3, \frac{\pi}{2})"),
        (r"\frac12", r"\frac{1}{2}"),
        ("$5$.", "5"),
        (r"\$10", "10"),
        ("90", r"90^\circ"),
        ("90°", r"90^{\circ}"),
        (r"5\text{ cm}", "5"),
        ("5", r"5\text{ cm}^2"),
        ("12 inches", "12"),
        ("10,000", r"10,\!000"),
        ("10{,}000", "10000"),
        (r"x\in[0,1)", r"[0, 1)"),
        # values
        ("0.5", r"\frac{1}{2}"),
        ("1/2", r"\frac12"),
        (r"1\frac12", r"\frac32"),
        (r"50\%", "50"),
        ("50%", "0.5"),
        ("x=5", "5"),
        ("5", "x=5"),
        (r"\frac{\sqrt{52}}{2}", r"\sqrt{13}"),
        ("(x-1)(x+1)", "x^2-1"),
        ("-q+p", "p - q"),
        ("9i+6", "6+9i"),
        (r"\cot(x)", r"\cot x"),
        # lists, sets, points, matrices
        ("2,1", "1,2"),
        (r"\{2, 1\}", r"\{1, 2\}"),
        (r"1 \text{ and } -2", "1,-2"),
        (r"1-\sqrt{19}, 1+\sqrt{19}", r"1 \pm \sqrt{19}"),
        (r"(0.5, 2)", r"\left(\frac12, 2\right)"),
        (r"(-\infty, 0.5]", r"(-\infty, \frac{1}{2}]"),
        (ROWS, r"\begin{pmatrix} -\frac13 \\ \frac23 \end{pmatrix}"),
        (r"\begin{bmatrix} -1/3 \\[4pt] 2/3 \end{bmatrix}", ROWS),
        ("\\begin{pmatrix}\n-1/3 \\\\\n2/3\n\\end{pmatrix}", ROWS),
        # words
        ("East", r"\text{east}"),
        (r"\textbf{(E)}", r"\text{E}"),
        ("E", r"\text{(E)}"),
    ],
)
def test_equal(given: str, gold: str) -> None:
    assert same_answer(given, gold)


@pytest.mark.parametrize(
    ("given", "gold"),
    [
        ("2", "-2"),
        ("0.33", r"\frac13"),
        ("1 1/2", "11/2"),  # equal to hendrycks/math, which drops the space
        ("1000000000000000000001", "1000000000000000000000"),
        ("y=5", "x=5"),
        ("(2,1)", "(1,2)"),
        ("[0,1]", "[0,1)"),
        ("3,5", "3,5,7"),
        ("(-2,1)", "1,-2"),
        ("1,2", "(1,2)"),
        (r"\infty", r"-\infty"),
        ("q-p", "p-q"),
        ("6-9i", "6+9i"),
        (r"\begin{pmatrix} 2/3 \\ -1/3 \end{pmatrix}", ROWS),
        ("seat", r"\text{east}"),
        ("5=A", r"\text{A}"),  # equal to math-verify, as an assignment
        ("D", r"\text{(E)}"),
        ("42", "52_8"),
        ("I think it is 5 apples", "5"),
        ("", "5"),
        ("  ", ""),
        ("1" + "+0" * 500, "1"),  # equal, but too long to be looked at
    ],
)
def test_unequal(given: str, gold: str) -> None:
    assert not same_answer(given, gold)


def test_answers_of_math500_equal_their_solutions_only(math500: list[dict[str, Any]]) -> None:
    answers = [row["answer"] for row in math500]
    for given, gold in zip(answers, answers[1:] + answers[:1], strict=True):
        assert same_answer(gold, gold)
        assert same_answer(given, gold) is (given == gold or {given, gold} == {"5", "x=5"})
