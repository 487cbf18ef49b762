"""Guidance runs two texts in turn; each is steered by its own places."""

from typing import Any

import pytest
import torch
from torch import Tensor

import onerow
from ruled import GREEDY, MODEL, NEW, alone, close, plan_of, rules
from steer.hooks import (
    Plan,
    attach,
)

ROW = [5, 6, 7, 8, 9]
SHORTER, AS_LONG, LONGER = [7, 11], [11, 7, 12, 13, 14], [11, 12, 7, 13, 14, 15, 16, 17]
negatives = pytest.mark.parametrize(
    "negative", [None, SHORTER, AS_LONG, LONGER], ids=["none", "shorter", "as long", "longer"]
)


def _guided(
    row: list[int],
    negative: list[int] | None,
    with_prompt: onerow.Rule | None,
    without: onerow.Rule | None,
) -> tuple[list[int], Tensor]:
    """The new tokens and their scores: two whole uncached rows a token, each counted by itself."""
    other = row[-1:] if negative is None else list(negative)
    ids, begins, scores = list(row), len(other), []
    for _ in range(NEW):
        yes = alone(MODEL, ids, len(row), with_prompt)[-1].log_softmax(-1)
        no = alone(MODEL, other, begins, without)[-1].log_softmax(-1)
        scores.append(no + 2.0 * (yes - no))
        token = int(scores[-1].argmax())
        ids, other = [*ids, token], [*other, token]
    return ids[len(row) :], torch.stack(scores)


def _guide(plan: Plan | None, rows: list[list[int]], **options: Any) -> tuple[Any, Tensor]:
    asked = {"guidance_scale": 2.0, "return_dict_in_generate": True, "output_scores": True}
    batch = MODEL.batch(rows)
    del batch["position_ids"]
    with attach(MODEL, plan):
        out = MODEL.hf.generate(**batch, **(GREEDY | asked | options))
    return out.sequences[:, -NEW:].tolist(), torch.stack(out.scores, 1)


@rules
@negatives
def test_both_passes_of_guidance_are_steered_by_their_own_places(
    rule: onerow.Rule, negative: list[int] | None
) -> None:
    given = {} if negative is None else {"negative_prompt_ids": torch.tensor([negative])}
    tokens, scores = _guide(plan_of(rule), [ROW], **given)
    expected, by_hand = _guided(ROW, negative, rule, rule)
    assert tokens == [expected]
    close(scores[0], by_hand)


@rules
def test_the_unconditional_pass_matters(rule: onerow.Rule) -> None:
    both, one = _guided(ROW, LONGER, rule, rule)[1], _guided(ROW, LONGER, rule, None)[1]
    assert (both - one)[0 if rule in ("prompt", "last", ("after", 7)) else 1].abs().max() > 0.1


@rules
def test_guidance_of_padded_rows_is_that_of_each_alone(rule: onerow.Rule) -> None:
    rows, others = [ROW, [10, 7, 12]], [[7, 11], LONGER]
    batch = MODEL.batch(others)
    tokens, _ = _guide(
        plan_of(rule),
        rows,
        negative_prompt_ids=batch["input_ids"],
        negative_prompt_attention_mask=batch["attention_mask"],
    )
    # The unconditional pass gives no position ids, so padding shifts its rotary places alike.
    assert tokens == [_guided(r, o, rule, rule)[0] for r, o in zip(rows, others, strict=True)]


def test_uncached_guidance_looks_at_the_tokens_of_each_row() -> None:
    rule = ("after", 7)
    given = {"negative_prompt_ids": torch.tensor([LONGER])}
    tokens, scores = _guide(plan_of(rule), [ROW], use_cache=False, **given)
    expected, by_hand = _guided(ROW, LONGER, rule, rule)
    assert tokens == [expected]
    close(scores[0], by_hand)


@pytest.mark.parametrize("rule", ["prompt", "generated", "last", ("first", 2)], ids=str)
def test_the_first_token_of_uncached_guidance_is_as_by_hand(rule: onerow.Rule) -> None:
    # From the second on, nothing says where the prompt in that whole row ended.
    given = {"negative_prompt_ids": torch.tensor([LONGER])}
    _, scores = _guide(plan_of(rule), [ROW], use_cache=False, **given)
    close(scores[0, 0], _guided(ROW, LONGER, rule, rule)[1][0])
