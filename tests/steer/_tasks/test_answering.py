from collections.abc import Callable

import pytest

import tiny
from steer._judges import phrases, repetition
from steer._tasks import TASKS, Result, Setting
from steer._tasks._answering import FLUENCY
from steer.hooks import Model, add, resid_post

REFUSAL = TASKS["refusal"]
ROWS = [{"prompt": text} for text in ("What is the sky ?", "Is it a cat ?", "Who", "Where is ice")]
ARMS = {"base": None, "steered": add(resid_post(2), 3 * tiny.vector())}
LOOP = "one two three four five " * 20


def test_both_arms_in_one_call_equal_two_calls(model: Model) -> None:
    setting = Setting(model, "plain", max_new_tokens=12, judges={"phrases": phrases})
    items = [REFUSAL.item(row, n) for n, row in enumerate(ROWS)]
    both = REFUSAL.measure(setting, items, ARMS)
    assert list(both) == ["base", "steered"]
    for arm, plan in ARMS.items():
        assert REFUSAL.measure(setting, items, {arm: plan}) == {arm: both[arm]}
    texts = {arm: [result["answer"] for result in results] for arm, results in both.items()}
    assert texts["base"] != texts["steered"]
    alone = [model.generate_text(row["prompt"], 12).strip() for row in ROWS]
    assert texts["base"] == alone


def test_fluency_of_every_answer(scored: Callable[..., list[Result]]) -> None:
    found = scored(REFUSAL, ROWS, ["It is blue and wide.", LOOP, "", "!@#$%^&*" * 5])
    assert [result["degenerate"] for result in found] == [0.0, 1.0, 1.0, 1.0]
    assert [result.get("why") for result in found] == [None, "loop", "empty", "gibberish"]
    assert [result["tokens"] for result in found] == [5, 100, 0, 1]
    # 97 four-grams, five of them distinct.
    assert found[1]["repetition"] == round(1 - 5 / 97, 4) == round(repetition(LOOP), 4)
    assert found[0]["answer"] == "It is blue and wide."
    assert found[0]["cut"] == 0.0
    for metric in FLUENCY:
        assert all((metric.value or metric.name) in result for result in found)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("plain", "Blue.\nQ: And the sea?\nA: Green."),
        ("qa", "Blue."),
    ],
)
def test_an_answer_in_a_question_and_answer_format_ends_before_the_next_question(
    prompt: str, answer: str, scored: Callable[..., list[Result]]
) -> None:
    (found,) = scored(REFUSAL, ROWS[:1], ["Blue.\nQ: And the sea?\nA: Green."], prompt)
    assert found["answer"] == answer


def test_an_answer_that_is_only_another_question_is_empty(
    scored: Callable[..., list[Result]],
) -> None:
    (found,) = scored(REFUSAL, ROWS[:1], ["Q: Why?\nA: So."], "qa")
    assert (found["answer"], found["why"]) == ("", "empty")
    (found,) = scored(REFUSAL, ROWS[:1], ["See the FAQ: it is blue"], "qa")
    assert found["answer"] == "See the FAQ: it is blue"
