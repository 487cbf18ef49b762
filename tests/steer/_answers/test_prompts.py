from steer._answers import GSM8K_PROMPT, MATH_PROMPT, final_answer, last_number

QUESTION = r"What is $\frac{1}{2}$ of {x}?"


def test_the_question_comes_first_with_its_braces() -> None:
    for prompt in (GSM8K_PROMPT, MATH_PROMPT):
        assert prompt.format(question=QUESTION).startswith(f"{QUESTION}\n\nPlease reason step by")


def test_the_form_asked_for_is_the_one_read_first() -> None:
    assert '"#### "' in GSM8K_PROMPT
    assert last_number(r"\boxed{1} The answer is 2." + "\n#### 3") == "3"
    assert MATH_PROMPT.format(question="").endswith(r"within \boxed{}.")
    assert final_answer(r"The answer is $2$. \boxed{3} $4$") == "3"
