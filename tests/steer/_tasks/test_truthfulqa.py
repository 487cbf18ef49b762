from math import exp, log

import pytest

import byhand
import quiz
import tiny
from steer._tasks import TASKS, TEMPLATES, Setting, mc1, mc2, question_of
from steer.attribution import Pair

SCORES = {"a": log(0.5), "b": log(0.3), "c": log(0.2)}


def test_mc1_asks_whether_the_likeliest_choice_is_true() -> None:
    assert mc1(SCORES, {"a": True, "b": False, "c": False}) == 1
    assert mc1(SCORES, {"a": False, "b": True, "c": False}) == 0
    assert mc1(SCORES, {"b": True, "c": False}) == 1  # a choice outside the labels has no say


def test_a_tie_counts_against_the_truth() -> None:
    assert mc1({"a": -1.0, "b": -1.0, "c": -2.0}, {"a": True, "b": False, "c": False}) == 0


def test_mc2_is_the_share_of_probability_of_true_choices() -> None:
    assert mc2(SCORES, {"a": True, "b": False, "c": True}) == pytest.approx(0.7)
    assert mc2(SCORES, {"b": True, "c": False}) == pytest.approx(0.6)


def test_mc2_of_tiny_probabilities_keeps_its_digits() -> None:
    scores = {"a": -2000.0, "b": -2001.0}
    assert mc2(scores, {"a": True, "b": False}) == pytest.approx(1 / (1 + exp(-1)))


@pytest.mark.parametrize("name", ["truthfulqa", "misconceptions"])
@pytest.mark.parametrize("prompt", ["qa", "primer"])
def test_a_question_is_measured_by_the_scores_of_its_choices(name: str, prompt: str) -> None:
    model = tiny.model()
    question = question_of(quiz.rows()[1], 0)
    (found,) = TASKS[name].measure(Setting(model, prompt), [question], {"base": None})["base"]
    text = TEMPLATES[prompt].replace("{question}", "What is the sea ?")
    ids = model.tokenizer(text)["input_ids"]
    choices = ["blue", "black", "it is white .", "the sea is blue", "yes"]
    by_hand = [byhand.score(model.hf, ids, model.tokenizer(c)["input_ids"]) for c in choices]
    assert question.choices == choices
    assert found["scores"] == pytest.approx(by_hand, abs=1e-4)
    assert found["mc1"] == float(by_hand[0] > max(by_hand[1:3]))
    share = [exp(score) for score in by_hand]
    true = share[0] + share[3] + share[4]
    assert found["mc2"] == pytest.approx(true / sum(share), rel=1e-4)


def test_the_formats() -> None:
    assert list(TEMPLATES) == ["qa", "primer"]
    assert TEMPLATES["qa"].format(question="Why?") == "Q: Why?\nA:"
    primer = TEMPLATES["primer"].format(question="Why?")
    assert primer.count("Q: ") == primer.count("A: ") + 1 == 7
    assert primer.startswith("Q: What is human life expectancy in the United States?\nA: Human")
    assert primer.endswith("Barcelona, Spain.\n\nQ: Why?\nA:")


def test_pairs_are_in_the_prompt_format() -> None:
    task = TASKS["truthfulqa"]
    row = {"question": "q?", "mc1_targets": {"a": 1, "b": 0}, "mc2_targets": {"a": 1, "b": 0}}
    assert task.pairs is not None
    assert task.pairs([task.item(row, 0)], "qa", 0) == [Pair("Q: q?\nA:", "a", "b")]
