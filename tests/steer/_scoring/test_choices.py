from typing import Any

import pytest
import torch
from torch import nn

import families
import parts
import scored
import tiny
from scored import CHOICES, HEAD, PROMPTS, SPANS, V, by_hand, close, flat
from steer._scoring import primed, score_choices
from steer._scoring._choices import takes_trees
from steer.hooks import Model, Span, add, attach, resid_post

DECODERS = sorted(set(families.FAMILIES) - families.ENCODER_DECODERS)
# Found by trying: these reckon places by the row, or make masks of their own.
ONE_A_ROW = {"bloom", "falcon_sequential", "llama4", "mpt"}


def _layer(model: Model, family: str) -> nn.Module:
    layer = parts.part(model.hf, family, "resid_post", 1)
    assert layer is not None
    return layer


@pytest.mark.parametrize("batch_tokens", [1, 16, 1024])
def test_scores_equal_one_sequence_at_a_time_without_a_cache(
    any_model: Model, batch_tokens: int
) -> None:
    found = score_choices(any_model, PROMPTS, CHOICES, batch_tokens=batch_tokens)
    close(found, by_hand(any_model, any_model.anatomy.layers[1]))


@pytest.mark.parametrize("family", DECODERS)
def test_every_family_is_scored_right_by_the_quickest_way_it_takes(family: str) -> None:
    model = parts.model(family)
    # Four tokens at most: no window is too small.
    short = {"prompts": [[5, 6], [9]], "choices": [[[8], [7, 8], [7, 9]], [[7, 7, 8], [7, 7]]]}
    with scored.passes(model) as seen:
        found = score_choices(model, **short)
    assert any(scored.trees(seen[-1:])) == takes_trees(model, 4) == (family not in ONE_A_ROW)
    close(found, by_hand(model, _layer(model, family), **short))
    close(score_choices(model, PROMPTS, CHOICES), by_hand(model, _layer(model, family)))


@pytest.mark.parametrize("family", DECODERS)
def test_every_family_is_scored_right_steered_and_from_a_primer(family: str) -> None:
    model = parts.model(family)
    prompts = [[*HEAD, *prompt] for prompt in PROMPTS]
    for span in ("all", "generated"):
        expected = by_hand(model, _layer(model, family), span, prompts=prompts)
        with attach(model, scored.plan(span)):
            primer = primed(model, HEAD, 40)
            close(score_choices(model, prompts, CHOICES, primer=primer), expected, 2e-4)


@pytest.mark.parametrize("span", list(SPANS), ids=str)
def test_an_attached_plan_sees_the_choice_as_generated(any_model: Model, span: str | Span) -> None:
    layer = any_model.anatomy.layers[1]
    with attach(any_model, scored.plan(span)):
        found = score_choices(any_model, PROMPTS, CHOICES, batch_tokens=64)
    expected, plain = by_hand(any_model, layer, SPANS[span]), by_hand(any_model, layer)
    close(found, expected)
    assert max(abs(a - b) for a, b in zip(flat(expected), flat(plain), strict=True)) > 0.1


def test_a_single_token_is_predicted_by_the_prompt_alone(model: Model) -> None:
    plain = flat(score_choices(model, PROMPTS, CHOICES))
    with attach(model, scored.plan("generated")):
        steered = flat(score_choices(model, PROMPTS, CHOICES))
    moved = [abs(a - b) > 1e-3 for a, b in zip(steered, plain, strict=True)]
    assert moved == [len(choice) > 1 for group in CHOICES for choice in group]


@pytest.mark.parametrize("batch_tokens", [16, 1024])
def test_a_choice_scores_the_same_whoever_stands_beside_it(model: Model, batch_tokens: int) -> None:
    together = score_choices(model, PROMPTS, CHOICES, batch_tokens=batch_tokens)
    turned = score_choices(model, PROMPTS[::-1], [group[::-1] for group in CHOICES[::-1]])
    close([group[::-1] for group in turned[::-1]], together)
    for prompt, choices, scores in zip(PROMPTS, CHOICES, together, strict=True):
        alone = [score_choices(model, [prompt], [[choice]])[0][0] for choice in choices]
        assert scores == pytest.approx(alone, abs=1e-4)


def test_more_states_than_have_their_logits_in_memory_at_a_time(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert takes_trees(model, 24)
    widest, logits = [], model.logits
    monkeypatch.setattr("steer._scoring._choices._SLICE", 3)
    monkeypatch.setattr(model, "logits", lambda s: widest.append(len(s)) or logits(s))
    close(score_choices(model, PROMPTS, CHOICES), by_hand(model, model.anatomy.layers[1]))
    assert max(widest) == 3


@pytest.mark.parametrize("span", ["all", "generated"])
def test_nothing_is_left_of_the_scoring(any_model: Model, span: str) -> None:
    batch = torch.tensor([[5, 6, 7]])
    before, hooks = any_model.hf(batch).logits, tiny.hook_count(any_model.hf)
    with attach(any_model, add(resid_post(1), V, span=span)):
        inside = tiny.hook_count(any_model.hf)
        score_choices(any_model, PROMPTS, CHOICES)
        assert tiny.hook_count(any_model.hf) == inside
    assert torch.equal(any_model.hf(batch).logits, before)
    assert tiny.hook_count(any_model.hf) == hooks


def _least(shared: int = 0) -> int:
    """Tokens that no way of scoring could leave out: each prompt, each beginning of a choice."""
    inner = [{tuple(c[:n]) for c in group for n in range(1, len(c))} for group in CHOICES]
    return sum(len(prompt) - shared for prompt in PROMPTS) + sum(map(len, inner))


@pytest.mark.parametrize("batch_tokens", [1, 16, 1024])
def test_no_token_is_run_twice(model: Model, batch_tokens: int) -> None:
    assert takes_trees(model, 24)
    with scored.passes(model) as seen:
        score_choices(model, PROMPTS, CHOICES, batch_tokens=batch_tokens)
    assert all(scored.trees(seen))
    # A node is real if it sees itself.
    real = sum(int((mask[:, 0].diagonal(0, 1, 2) == 0).sum()) for _, mask in seen)
    padded = [ids.numel() for ids, _ in seen]
    # Of prompts 22; of choices 1, 10, 1 + 3 + 8, 0, and 8, 8 9, 8 9 11, 13, 13 8, 13 8 9.
    assert real == _least() == 22 + 1 + 10 + 12 + 0 + 6
    assert all(n <= batch_tokens or len(ids) == 1 for n, (ids, _) in zip(padded, seen, strict=True))
    if batch_tokens == 1:
        assert sum(padded) == real


def test_what_all_prompts_begin_with_is_run_once(model: Model) -> None:
    prompts = [[*HEAD, *prompt] for prompt in PROMPTS]
    assert takes_trees(model, 42)
    with scored.passes(model) as seen:
        primer = primed(model, HEAD, 42)
        score_choices(model, prompts, CHOICES, primer=primer, batch_tokens=1)
    assert seen[0][0].tolist() == [HEAD]
    assert sum(ids.numel() for ids, _ in seen[1:]) == _least()


def test_whether_trees_are_taken_is_tried_once_a_model(model: Model) -> None:
    with scored.passes(model) as seen:
        assert takes_trees(model, 4)
        tried = len(seen)
        assert takes_trees(model, 5)
    assert 0 < tried == len(seen)


def _without_places(_: nn.Module, args: Any, given: dict[str, Any]) -> Any:
    return args, given | {"position_ids": None}


def _refusing(_: nn.Module, args: Any, given: dict[str, Any]) -> None:
    mask = given.get("attention_mask")
    if mask is not None and mask.dim() != 2:
        raise NotImplementedError("masks of two dimensions only")


def test_a_model_that_gets_trees_wrong_is_found_out(model: Model) -> None:
    # With no padding to the left the places may be left out: rows are right, trees are not.
    model.anatomy.decoder.register_forward_pre_hook(_without_places, with_kwargs=True)
    assert not takes_trees(model, 4)
    found = score_choices(model, PROMPTS, CHOICES, batch_tokens=1)
    close(found, by_hand(model, model.anatomy.layers[1]))


def test_a_model_that_refuses_trees_is_scored_one_choice_a_row(model: Model) -> None:
    model.anatomy.decoder.register_forward_pre_hook(_refusing, with_kwargs=True)
    assert not takes_trees(model, 4)
    close(score_choices(model, PROMPTS, CHOICES), by_hand(model, model.anatomy.layers[1]))
