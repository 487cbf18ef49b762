import time
from typing import Any

import pytest

from steer._answers import boxed, final_answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} and \boxed{ 2 }", "2"),
        (r"$\boxed{\frac{1}{\sqrt{2}}}$", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed {5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\fbox{3}", "3"),
        (r"\boxed{2} \fbox{3}", "2"),
        (r"$\boxed 5$ as said", "5"),
        ("\\boxed 12\nDone.", "12"),
        (r"\(\boxed 5\) as said", "5"),
        (r"\boxed5", "5"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{a \\{b}}", r"a \\{b}"),
        ("\\boxed{1\n2}", "1\n2"),
        (r"\boxed{}", ""),
        (r"\boxed{1} \boxed{2", None),
        (r"\boxed", None),
        (r"\boxedfoo{1}", None),
        ("boxed{1}", None),
        ("", None),
        (r"\boxed{" * 1000 + "1" + "}" * 1000, "1"),
    ],
)
def test_boxed(text: str, content: str | None) -> None:
    assert boxed(text) == content


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is $3$. \boxed{4} $5$", "4"),
        ("Final Answer: The final answer is $x^2$. I hope it is correct.", "x^2"),
        (r"The answer is \(\frac12\) metres, of $7$", r"\frac12"),
        (r"The answer is $3$ or $5$, since $x > 0$", "3 or 5"),
        ("The answer is $3$, $5$, and $7$.", "3, 5, and 7"),
        ("the answer is 4. Then $7$", "4"),
        ("**Answer:** x = 2.5\nCheck $1$", "x = 2.5"),
        ("**Answer: east**", "east"),
        ("Answer: 2.5", "2.5"),
        (r"The answer is: \[ \frac{1}{2} \]", r"\frac{1}{2}"),
        ("so $a$, hence $$b + c$$ at last, 7 times", "b + c"),
        (r"so $a$, hence \( b \).", "b"),
        (
            r"\[ \begin{matrix} 1 \\[4pt] 2 \end{matrix} \]",
            r"\begin{matrix} 1 \\[4pt] 2 \end{matrix}",
        ),
        ("It is 3, or 1,234 perhaps", "1234"),
        (r"\boxed{} 7", "7"),
        (r"the answer is $6$ \boxed{7", "6"),
        ("Answer:", None),
        ("who knows", None),
        ("", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_every_solution_of_math500(math500: list[dict[str, Any]]) -> None:
    assert len(math500) == 100
    for row in math500:
        assert final_answer(row["solution"]) == row["answer"]


@pytest.mark.parametrize(
    "piece", [r"\(", r"\[", "$", "\\", " ", "answer is ", "answer is. ", r"\boxed{", "#### ", "1,"]
)
def test_reading_takes_linear_time(piece: str) -> None:
    start = time.monotonic()
    final_answer(f"#### answer is x{piece * 20_000}y")  # quadratic: five seconds and more
    assert time.monotonic() - start < 2
