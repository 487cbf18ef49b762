from statistics import median_low

import jaxtyping
import pytest
import torch
from torch import Tensor

import byhand
import tiny
from steer.attribution import grains
from steer.hooks import DataError, Model, PlanError, SiteError, resid_post

PAIRS = [
    ("Q: What is the sky ?", "blue", "the sky is green ."),
    ("Where is Paris ?", "in the river of London", "Rome ?"),
    ("A: fire", "hot . it is not cold", "cold and old"),
]
LAYER = 1


def absent(model: Model, kind: str) -> Tensor:
    pad = byhand.embeddings(model.hf, [0])[0]
    return pad if kind == "pad" else torch.zeros_like(pad)


def best(scores: Tensor, k: int) -> list[int]:
    """The places of the k highest scores, of those above zero."""
    places = sorted(range(len(scores)), key=lambda place: -float(scores[place]))
    return [place for place in places if scores[place] > 0][:k]


def taken_away(
    model: Model, ids: list[int], places: list[int], gap: Tensor
) -> tuple[Tensor, Tensor]:
    """The last state of a text, and how much of it is gone without some of its tokens."""
    embeds = byhand.embeddings(model.hf, ids)
    without = embeds.clone()
    for place in places:
        without[place] = gap
    whole = byhand.states(model.hf, embeds, LAYER)[-1]
    return whole, whole - byhand.states(model.hf, without, LAYER)[-1]


def vector_by_hand(
    model: Model, over: str, k: int, steps: int, baseline: str, replacement: str
) -> tuple[Tensor, list[float]]:
    """The plan's vector and the attributions' relative completeness errors, pair by pair."""
    start, gap = absent(model, baseline), absent(model, replacement)
    ups, downs, wholes, errors = [], [], [], []
    for texts in PAIRS:
        prompt, good, bad = (model.tokenizer(text)["input_ids"] for text in texts)
        (up, up_delta), (down, down_delta) = (
            byhand.integrated(
                model.hf, prompt, answer, start, fixed_answer=over == "prompt", steps=steps
            )
            for answer in (good, bad)
        )
        read = [prompt + good, prompt + bad]
        up_delta = down_delta = up_delta - down_delta
        preference = up[: len(prompt)] - down[: len(prompt)]
        up = torch.cat([preference, up[len(prompt) :]])
        down = torch.cat([-preference, down[len(prompt) :]])
        if over == "prompt":
            up, down = preference, -preference
            read = [prompt, prompt]
        for ids, scores, side in zip(read, (up, down), (ups, downs), strict=True):
            whole, change = taken_away(model, ids, best(scores, k), gap)
            wholes.append(whole)
            side.append(change)
        errors.append(abs(up_delta) / float(up.abs().sum()))
        errors.append(abs(down_delta) / float(down.abs().sum()))
    direction = torch.stack(ups).mean(0) - torch.stack(downs).mean(0)
    unit = median_low([float(whole.norm()) for whole in wholes])
    return direction / direction.norm() * unit, errors


def check(model: Model, over: str, k: int, baseline: str, replacement: str) -> None:
    plan = grains(
        model,
        PAIRS,
        LAYER,
        strength=0.25,
        over=over,
        k=k,
        steps=3,
        baseline=baseline,
        replacement=replacement,
    )
    vector, errors = vector_by_hand(model, over, k, 3, baseline, replacement)
    (item,) = plan
    assert (item.site, item.strength) == (resid_post(LAYER), 0.25)
    torch.testing.assert_close(item.edit.vector, vector, rtol=1e-3, atol=2e-3)
    delta = plan.meta["convergence_delta"]
    assert delta["mean"] == pytest.approx(sum(errors) / 6, rel=1e-3)
    assert delta["max"] == pytest.approx(max(errors), rel=1e-3)


@pytest.mark.parametrize("over", ["prompt", "answer"])
@pytest.mark.parametrize("baseline", ["zero", "pad"])
@pytest.mark.parametrize("replacement", ["zero", "pad"])
def test_it_equals_one_pair_at_a_time(
    model: Model, over: str, baseline: str, replacement: str
) -> None:
    check(model, over, 2, baseline, replacement)


@pytest.mark.parametrize("over", ["prompt", "answer"])
@pytest.mark.parametrize("family", ["gemma3", "gpt2", "qwen3_moe"])
def test_it_equals_one_pair_at_a_time_in_other_families(family: str, over: str) -> None:
    check(tiny.model(family), over, 2, "pad", "pad")


@pytest.mark.parametrize("over", ["prompt", "answer"])
@pytest.mark.parametrize("k", [1, 4, 1000])
def test_any_number_of_tokens_up_to_more_than_there_are(model: Model, over: str, k: int) -> None:
    check(model, over, k, "pad", "pad")


@pytest.mark.parametrize("over", ["prompt", "answer"])
def test_neither_the_order_of_pairs_nor_the_size_of_batches_matters(
    model: Model, over: str
) -> None:
    options = {"over": over, "k": 2, "steps": 3, "baseline": "pad"}
    whole = grains(model, PAIRS, LAYER, **options)
    parts = grains(model, PAIRS[::-1], LAYER, batch_tokens=1, **options)
    site = resid_post(LAYER)
    torch.testing.assert_close(whole.vectors[site], parts.vectors[site], rtol=1e-3, atol=1e-3)


def test_a_repeated_pair_weighs_as_often_as_it_is_given(model: Model) -> None:
    """Rows are run once; the mean over pairs still counts each."""
    options = {"over": "answer", "k": 2, "steps": 3, "baseline": "pad"}
    thrice = grains(model, [PAIRS[0]] * 3, LAYER, **options)
    once = grains(model, [PAIRS[0]], LAYER, **options)
    site = resid_post(LAYER)
    torch.testing.assert_close(thrice.vectors[site], once.vectors[site], rtol=1e-4, atol=1e-4)
    assert thrice.meta["pairs"] == 3


def test_another_aggregate_sees_the_changes_of_both_sides(model: Model) -> None:
    seen: list[tuple[int, ...]] = []

    def first(differences: Tensor) -> Tensor:
        seen.append(tuple(differences.shape))
        return differences[0]

    options = {"over": "answer", "k": 2, "steps": 3, "baseline": "pad"}
    plan = grains(model, PAIRS, LAYER, aggregate=first, **options)
    alone = grains(model, PAIRS[:1], LAYER, **options)
    assert seen == [(3, tiny.D_MODEL)] * 2
    found, expected = (p.interventions[0].edit.vector for p in (plan, alone))
    torch.testing.assert_close(
        found / found.norm(), expected / expected.norm(), rtol=1e-3, atol=1e-4
    )


def test_the_plan_says_how_it_was_made(model: Model) -> None:
    plan = grains(model, PAIRS, [0, 2], over="prompt", k=3, steps=4, baseline="zero", span="last")
    expected = {"method": "grains", "pairs": 3, "over": "prompt", "k": 3, "steps": 4}
    expected |= {"baseline": "zero", "model": "tiny-llama", "hidden_size": tiny.D_MODEL}
    assert {key: plan.meta[key] for key in expected} == expected
    assert plan.layers == (0, 2)
    assert {str(item.span) for item in plan} == {"last"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0, "steps": 20}, "^grains: k and steps must be at least 1, got k=0, steps=20$"),
        ({"k": 5, "steps": 0}, "^grains: k and steps must be at least 1, got k=5, steps=0$"),
        ({"over": "image"}, "^grains: over must be 'prompt' or 'answer', got 'image'$"),
        ({"baseline": "mean"}, "unknown baseline 'mean'; expected zero or pad"),
        ({"replacement": "mean"}, "unknown baseline 'mean'; expected zero or pad"),
    ],
)
def test_options_that_make_no_sense(
    model: Model, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(DataError, match=message):
        grains(model, PAIRS, LAYER, **options)


def test_pairs_layers_and_spans_are_checked(model: Model) -> None:
    with pytest.raises(DataError, match="no pairs given"):
        grains(model, [], LAYER)
    with pytest.raises(SiteError, match="the model has 4 layers, numbered 0 to 3"):
        grains(model, PAIRS, 4)
    with pytest.raises(PlanError, match="unknown span 'answer'"):
        grains(model, PAIRS, LAYER, k=1, steps=1, span="answer")


def test_the_model_is_left_as_it_was(model: Model) -> None:
    batch = torch.tensor([[5, 6, 7]])
    before, hooks = model.hf(batch).logits, tiny.hook_count(model.hf)
    grains(model, PAIRS, LAYER, k=2, steps=2)
    assert torch.equal(model.hf(batch).logits, before)
    assert tiny.hook_count(model.hf) == hooks
    assert all(p.requires_grad and p.grad is None for p in model.hf.parameters())
