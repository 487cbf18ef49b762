from collections.abc import Callable

import pytest
import torch

import families
import scored
import tiny
from scored import CHOICES, HEAD, PROMPTS, SPANS, by_hand, close
from steer._scoring import Primer, primed, score_choices
from steer.hooks import Model, Span, attach, positions

LONGER = [[*HEAD, *prompt] for prompt in PROMPTS]


@pytest.mark.parametrize("batch_tokens", [1, 32, 1024])
def test_scores_are_the_same_from_a_primer(any_model: Model, batch_tokens: int) -> None:
    primer = primed(any_model, HEAD, 42)
    assert (primer is None) == (any_model.name == "tiny-gemma3")
    found = score_choices(any_model, LONGER, CHOICES, primer=primer, batch_tokens=batch_tokens)
    close(found, by_hand(any_model, any_model.anatomy.layers[1], prompts=LONGER))


@pytest.mark.parametrize("span", list(SPANS), ids=str)
def test_a_primer_is_steered_as_the_prompts_are(any_model: Model, span: str | Span) -> None:
    with attach(any_model, scored.plan(span)):
        primer = primed(any_model, HEAD, 42)
        found = score_choices(any_model, LONGER, CHOICES, primer=primer)
    close(found, by_hand(any_model, any_model.anatomy.layers[1], SPANS[span], prompts=LONGER))


BACK: dict[Span, tuple] = {
    positions(-3): ("positions", -3, None),
    positions(None, -3): ("positions", None, -3),
    ~positions(2, -15): ("not", ("positions", 2, -15)),
}


@pytest.mark.parametrize("span", list(BACK), ids=str)
def test_a_span_that_counts_back_from_the_end_of_the_prompt(model: Model, span: Span) -> None:
    # Where it begins in the head depends on how long the prompt is.
    with attach(model, scored.plan(span)):
        primer = primed(model, HEAD, 42)
        assert primer is None
        found = score_choices(model, LONGER, CHOICES, primer=primer)
    close(found, by_hand(model, model.anatomy.layers[1], BACK[span], prompts=LONGER))


def test_the_last_token_is_the_prompts_not_the_heads(model: Model) -> None:
    plain = primed(model, HEAD, 42)
    with attach(model, scored.plan("last")):
        steered = primed(model, HEAD, 42)
    with attach(model, scored.plan("prompt")):
        moved = primed(model, HEAD, 42)
    assert torch.equal(_keys(steered), _keys(plain))
    assert not torch.equal(_keys(moved), _keys(plain))


def _keys(primer: Primer | None) -> torch.Tensor:
    assert primer is not None
    keys: torch.Tensor = primer.cache.layers[3].keys
    return keys


def test_a_primer_serves_many_batches(model: Model) -> None:
    primer = primed(model, HEAD, 42)
    before = _keys(primer).clone()
    first = score_choices(model, LONGER, CHOICES, primer=primer, batch_tokens=16)
    assert torch.equal(_keys(primer), before)
    assert score_choices(model, LONGER, CHOICES, primer=primer, batch_tokens=16) == first


def test_a_short_head_is_not_worth_a_primer(model: Model) -> None:
    assert primed(model, HEAD[:15], 42) is None
    primer = primed(model, HEAD[:16], 42)
    assert primer is not None
    assert primer.ids == HEAD[:16]


WINDOWED = ["gemma2", "gemma3", "gpt_oss", "mistral", "mixtral", "phi3", "qwen2"]


@pytest.mark.parametrize("family", WINDOWED)
def test_no_primer_where_a_layer_does_not_see_all(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steer._scoring._primer.LEAST", 3)
    model = Model(families.network(family))
    assert primed(model, HEAD[:3], 9) is None  # the window is 8
    assert primed(model, HEAD[:3], 8) is not None


def test_no_primer_for_layers_that_see_chunks() -> None:
    assert primed(Model(families.network("llama4")), HEAD, 42) is None


@pytest.mark.parametrize("family", ["qwen2_moe", "llama"])
def test_a_model_without_a_window_has_a_primer(family: str) -> None:
    assert primed(Model(families.network(family)), HEAD, 42) is not None


@pytest.mark.parametrize("make", [lambda: tiny.model("gemma3"), lambda: tiny.model()])
def test_a_primer_inside_a_window(
    make: Callable[[], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steer._scoring._primer.LEAST", 3)
    model, prompts = make(), [[20, 21, 6, 7], [20, 21, 6, 8, 9]]
    choices = [[[n, 41, 42, 43] for n in (30, 31, 32, 33)], [[8], [7, 8, 9]]]
    primer = primed(model, [20, 21, 6], 8)
    assert primer is not None
    with scored.passes(model) as seen:
        found = score_choices(model, prompts, choices, primer=primer)
    assert seen[-1][0].shape[1] == 13  # wider than the window
    close(found, by_hand(model, model.anatomy.layers[1], prompts=prompts, choices=choices))
