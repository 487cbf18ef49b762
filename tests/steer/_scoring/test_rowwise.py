"""What cannot be scored as a tree: spans that go by places in the row, windows, odd models."""

import pytest
import torch

import onerow
import scored
import tiny
from scored import CHOICES, PROMPTS, SPANS, by_hand, close
from steer._scoring import score_choices
from steer._scoring._choices import takes_trees
from steer._scoring._rowwise import score_rowwise
from steer.hooks import Model, Span, after, attach, first, masked


@pytest.mark.parametrize("batch_tokens", [1, 16, 1024])
@pytest.mark.parametrize("span", list(SPANS), ids=str)
def test_rows_are_scored_right_under_every_span(
    any_model: Model, span: str | Span, batch_tokens: int
) -> None:
    with attach(any_model, scored.plan(span)):
        found = score_rowwise(any_model, PROMPTS, CHOICES, batch_tokens=batch_tokens)
    close(found, by_hand(any_model, any_model.anatomy.layers[1], SPANS[span]))


AFTER: dict[Span, onerow.Rule] = {
    after([6, 7]): ("after", 6, 7),  # in prompts, in a choice, and from one into the other
    after(8) | first(1): ("or", ("after", 8), ("first", 1)),
    ~after([7, 8]): ("not", ("after", 7, 8)),
}


@pytest.mark.parametrize("span", list(AFTER), ids=str)
def test_a_plan_that_looks_for_a_text_is_scored_one_choice_a_row(model: Model, span: Span) -> None:
    assert takes_trees(model, 24)
    with scored.passes(model) as seen, attach(model, scored.plan(span)):
        found = score_choices(model, PROMPTS, CHOICES)
    assert not any(scored.trees(seen))
    close(found, by_hand(model, model.anatomy.layers[1], AFTER[span]))
    # Places in a tree are not those of a text: it would be wrong.
    with attach(model, scored.plan("all")), scored.passes(model) as seen:
        score_choices(model, PROMPTS, CHOICES)
    assert all(scored.trees(seen))


def test_a_plan_with_a_mask_is_scored_one_choice_a_row(model: Model) -> None:
    assert takes_trees(model, 24)
    mask = torch.tensor([[False, True, False, True, True]])  # two tokens of the prompt, 3 after
    one: dict[str, list[list[int]]] = {"prompts": [[6, 7]]}
    choices = [CHOICES[4]]
    with scored.passes(model) as seen, attach(model, scored.plan(masked(mask))):
        found = score_choices(model, [[6, 7]], choices)
    assert not any(scored.trees(seen))
    rule = ("or", ("positions", 1, 2), ("positions", 3, 5))
    layer = model.anatomy.layers[1]
    close(found, by_hand(model, layer, rule, choices=choices, **one))


def test_a_window_smaller_than_a_text_is_scored_one_choice_a_row() -> None:
    model = tiny.model("gemma3")  # window 8
    prompts, layer = [[5, 6, 7], [9]], model.anatomy.layers[1]
    # The tree of the first has more than 8 nodes, but no text of it more than 8 tokens.
    fits = [[[n, 40, 41, 42, 43] for n in (20, 21, 22, 23)], [[8]]]
    longer = [[[n, 40, 41, 42, 43, 44] for n in (20, 21, 22, 23)], [[8]]]
    assert takes_trees(model, 8)
    with scored.passes(model) as seen:
        found = score_choices(model, prompts, fits)
    assert all(scored.trees(seen))
    assert max(ids.shape[1] for ids, _ in seen) == 19
    close(found, by_hand(model, layer, prompts=prompts, choices=fits))
    with scored.passes(model) as seen:
        found = score_choices(model, prompts, longer)
    assert not any(scored.trees(seen))
    close(found, by_hand(model, layer, prompts=prompts, choices=longer))


def test_prompts_are_run_once_and_choices_without_their_last_token(model: Model) -> None:
    with scored.passes(model) as seen:
        score_rowwise(model, PROMPTS, CHOICES, batch_tokens=1)
    run = sum(ids.numel() for ids, _ in seen)
    later = [len(choice) - 1 for group in CHOICES for choice in group]
    # Choices of one token need no pass of their own, nor do they lengthen one.
    assert run == sum(map(len, PROMPTS)) + sum(later)
