from collections.abc import Callable
from statistics import median_low

import jaxtyping
import pytest
import torch
from torch import Tensor

import byhand
import tiny
from steer.attribution import caa
from steer.hooks import DataError, Model, ModelError, Plan, PlanError, SiteError, attach, resid_post

PAIRS = [
    ("Q: What is the sky ?", "blue", "the sky is green ."),
    ("Where is Paris ?", "in the river of London", "Rome ?"),
    ("A: fire is", "hot . it is not cold", "cold and old"),
]
READS: dict[str, Callable[[Tensor], Tensor]] = {
    "last": lambda answer: answer[-1],
    "mean": lambda answer: answer.mean(0),
}


def answers_by_hand(model: Model, layer: int, read: str) -> tuple[Tensor, Tensor]:
    """States of the chosen and of the rejected answers, one text at a time."""
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for prompt, *answers in PAIRS:
        start = len(model.tokenizer(prompt)["input_ids"])
        for side, answer in zip(found, answers, strict=True):
            ids = model.tokenizer(f"{prompt} {answer}")["input_ids"]
            hidden = byhand.states(model.hf, byhand.embeddings(model.hf, ids), layer)
            side.append(READS[read](hidden[start:]))
    return torch.stack(found[0]), torch.stack(found[1])


@pytest.mark.parametrize("read", ["last", "mean"])
def test_the_vector_is_the_mean_difference_as_long_as_the_median_state(
    any_model: Model, read: str
) -> None:
    plan = caa(any_model, PAIRS, [0, 2], strength=0.25, read=read)
    assert plan.layers == (0, 2)
    for item in plan:
        chosen, rejected = answers_by_hand(any_model, item.site.layer, read)
        direction = (chosen - rejected).mean(0)
        unit = median_low(torch.cat([chosen, rejected]).norm(dim=1).tolist())
        torch.testing.assert_close(
            item.edit.vector, direction / direction.norm() * unit, rtol=1e-4, atol=1e-4
        )
        assert item.strength == 0.25
        assert plan.meta["norms"][str(item.site.layer)] == pytest.approx(unit, rel=1e-3)


def test_strength_is_a_fraction_of_the_norm_at_each_layer(model: Model) -> None:
    plan = caa(model, PAIRS, [0, 1, 2], strength=0.3, keep_norm=False)
    embeds = byhand.embeddings(model.hf, [5, 6, 7])
    for layer in plan.layers:
        both = torch.cat(answers_by_hand(model, layer, "last"))
        before = byhand.states(model.hf, embeds, layer)
        with attach(model, plan.only(layer)):
            added = byhand.states(model.hf, embeds, layer) - before
        expected = 0.3 * median_low(both.norm(dim=1).tolist())
        torch.testing.assert_close(added.norm(dim=1), torch.full((3,), expected), rtol=1e-4, atol=0)


def test_the_order_of_pairs_does_not_matter(model: Model) -> None:
    forth, back = caa(model, PAIRS, 1), caa(model, PAIRS[::-1], 1)
    site = resid_post(1)
    torch.testing.assert_close(forth.vectors[site], back.vectors[site], rtol=1e-4, atol=1e-5)


def test_another_aggregate(model: Model) -> None:
    plan = caa(model, PAIRS, 1, aggregate=lambda differences: differences[2])
    chosen, rejected = answers_by_hand(model, 1, "last")
    vector = plan.interventions[0].edit.vector
    torch.testing.assert_close(vector / vector.norm(), _unit(chosen[2] - rejected[2]))


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def test_span_and_keep_norm_reach_the_plan(model: Model) -> None:
    (item,) = caa(model, PAIRS, 1, span="generated", keep_norm=False)
    assert (str(item.span), item.edit.keep_norm) == ("generated", False)
    (item,) = caa(model, PAIRS, 1, span="last", keep_norm=True)
    assert (str(item.span), item.edit.keep_norm) == ("last", True)


def test_meta_says_how_the_plan_was_made(model: Model) -> None:
    meta = caa(model, PAIRS, 1, read="mean").meta
    expected = {"method": "caa", "pairs": 3, "read": "mean", "model": "tiny-llama"}
    assert {key: meta[key] for key in expected} == expected
    assert meta["hidden_size"] == tiny.D_MODEL


def test_the_default_layer_is_at_60_percent_of_the_depth(model: Model) -> None:
    assert caa(model, PAIRS).layers == (2,)  # 0.6 * 4 = 2.4


def test_a_layer_that_is_named_twice_is_edited_once(model: Model) -> None:
    assert [item.site for item in caa(model, PAIRS, [2, 1, 2])] == [resid_post(2), resid_post(1)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([1, 4], "site resid_post.4: the model has 4 layers, numbered 0 to 3"),
        (-1, "'resid_post' needs a layer index from 0, got -1"),
        ([], "layers: none given; name at least one"),
    ],
)
def test_layers_that_the_model_does_not_have(
    model: Model, layers: int | list[int], message: str
) -> None:
    with pytest.raises(SiteError, match=message):
        caa(model, PAIRS, layers)


def test_answers_that_read_the_same_to_the_model_give_no_direction(model: Model) -> None:
    with pytest.raises(DataError, match="layer 1: the direction is zero; check that chosen and"):
        caa(model, [("the sky", "unknown", "unheard")], 1)  # both are <unk>


def test_an_unknown_span(model: Model) -> None:
    with pytest.raises(PlanError, match="Span: unknown span 'answer'; expected all, prompt"):
        caa(model, PAIRS, 1, span="answer")


def test_an_unknown_way_to_read(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(DataError, match="caa: unknown read 'first'; expected last or mean"):
        caa(model, PAIRS, 1, read="first")


def test_a_network_without_a_tokenizer() -> None:
    with pytest.raises(ModelError, match="no tokenizer; wrap the model as Model"):
        caa(tiny.network(), PAIRS, 1)


def test_extraction_leaves_the_model_as_it_was(model: Model) -> None:
    before = model.hf(torch.tensor([[5, 6, 7]])).logits
    hooks = tiny.hook_count(model.hf)
    assert isinstance(caa(model, PAIRS, 1), Plan)
    assert tiny.hook_count(model.hf) == hooks
    assert torch.equal(model.hf(torch.tensor([[5, 6, 7]])).logits, before)
