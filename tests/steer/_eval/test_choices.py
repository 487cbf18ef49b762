import pytest
import torch

import byhand
import tiny
from steer._eval import score_choices
from steer.hooks import Model, add, attach, resid_post

# Prompts of 1 to 13 tokens (the tiny gemma's window is 8), choices of 1 to 11.
PROMPTS = [[5, 6, 7, 8], [9], [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22], [30, 31]]
CHOICES = [
    [[40], [41, 42], [43]],
    [[44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54]],
    [[6, 7], [8, 9, 10, 11], [12, 13, 14, 15, 16, 17, 18, 19, 20]],
    [[21], [22]],
]


def by_hand(model: Model, steered: byhand.Steered = byhand.unsteered) -> list[list[float]]:
    found = []
    for prompt, choices in zip(PROMPTS, CHOICES, strict=True):
        with steered(len(prompt)):
            found.append([byhand.score(model.hf, prompt, choice) for choice in choices])
    return found


def flat(scores: list[list[float]]) -> list[float]:
    return [score for group in scores for score in group]


def close(found: list[list[float]], expected: list[list[float]]) -> None:
    assert [len(group) for group in found] == [3, 1, 3, 2]
    assert flat(found) == pytest.approx(flat(expected), abs=1e-4)


@pytest.mark.parametrize("batch_tokens", [1, 16, 1024])
def test_scores_equal_one_sequence_at_a_time_without_a_cache(
    any_model: Model, batch_tokens: int
) -> None:
    found = score_choices(any_model, PROMPTS, CHOICES, batch_tokens=batch_tokens)
    close(found, by_hand(any_model))


@pytest.mark.parametrize("span", ["generated", "all"])
def test_an_attached_plan_sees_the_choice_as_generated(any_model: Model, span: str) -> None:
    vector, layer = 2 * tiny.vector(), any_model.anatomy.layers[1]

    def steered(prompt: int) -> object:
        return byhand.adding(layer, vector, prompt if span == "generated" else 0)

    expected = by_hand(any_model, steered)
    plain = by_hand(any_model)
    with attach(any_model, add(resid_post(1), vector, span=span)):
        found = score_choices(any_model, PROMPTS, CHOICES)
    close(found, expected)
    moved = [abs(a - b) > 1e-3 for a, b in zip(flat(expected), flat(plain), strict=True)]
    single = [len(choice) == 1 for group in CHOICES for choice in group]
    # A single token is predicted by the prompt alone, which `generated` does not touch.
    assert moved == [not (one and span == "generated") for one in single]


def test_only_the_prompt_is_edited_with_the_prompt_span(model: Model) -> None:
    vector, layer = 2 * tiny.vector(), model.anatomy.layers[1]
    expected = []
    for prompt, choices in zip(PROMPTS, CHOICES, strict=True):
        with byhand.adding(layer, vector, 0), byhand.adding(layer, -vector, len(prompt)):
            expected.append([byhand.score(model.hf, prompt, choice) for choice in choices])
    with attach(model, add(resid_post(1), vector, span="prompt")):
        close(score_choices(model, PROMPTS, CHOICES), expected)


def test_a_choice_scores_the_same_whoever_stands_beside_it(model: Model) -> None:
    together = score_choices(model, PROMPTS, CHOICES)
    for prompt, choices, scores in zip(PROMPTS, CHOICES, together, strict=True):
        alone = [score_choices(model, [prompt], [[choice]])[0][0] for choice in choices]
        assert scores == pytest.approx(alone, abs=1e-4)


def test_nothing_is_left_of_the_scoring(model: Model) -> None:
    batch = torch.tensor([[5, 6, 7]])
    before, hooks = model.hf(batch).logits, tiny.hook_count(model.hf)
    score_choices(model, PROMPTS, CHOICES)
    assert torch.equal(model.hf(batch).logits, before)
    assert tiny.hook_count(model.hf) == hooks
