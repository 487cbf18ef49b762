import re

import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import (
    Model,
    Plan,
    PlanError,
    Site,
    SiteError,
    ablate,
    add,
    attach,
    attn_out,
    embed,
    final,
    mlp_out,
    resid_post,
    resid_pre,
)

ROWS = [[5, 6, 7, 8], [9, 10]]
V = tiny.vector()


def _states(model: Model) -> tuple[Tensor, ...]:
    batch = model.batch(ROWS)
    states: tuple[Tensor, ...] = model.hf(**batch, output_hidden_states=True).hidden_states
    return states


def _real(model: Model) -> Tensor:
    return model.batch(ROWS)["attention_mask"].bool()


def test_the_added_vector_is_exact(any_model: Model) -> None:
    base, real = _states(any_model), _real(any_model)
    with attach(any_model, add(resid_post(1), V, strength=0.5)):
        steered = _states(any_model)
    assert torch.equal(steered[2][real], base[2][real] + 0.5 * V)
    assert torch.equal(steered[2][~real], base[2][~real])
    assert torch.equal(steered[0], base[0])
    assert torch.equal(steered[1], base[1])
    assert not torch.equal(steered[3][real], base[3][real])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_added_vector_is_within_rounding(model: Model, dtype: torch.dtype) -> None:
    model.hf.to(dtype)
    base, real = _states(model), _real(model)
    with attach(model, add(resid_post(1), V, strength=0.3)):
        steered = _states(model)
    exact = base[2][real].double() + 0.3 * V.double()
    unit = torch.finfo(dtype).eps
    assert steered[2].dtype == dtype
    assert ((steered[2][real].double() - exact).abs() <= unit * (exact.abs() + V.abs())).all()


SITES: list[Site] = [resid_pre(2), resid_post(2), attn_out(2), mlp_out(2), embed, final]


@pytest.mark.parametrize("zero", [0.0, -0.0, None])
def test_strength_zero_and_no_plan_are_bit_identical(any_model: Model, zero: float | None) -> None:
    plans = [add(site, V) + ablate(site, V) + add(site, V, keep_norm=True) for site in SITES]
    batch = any_model.batch(ROWS)
    base = any_model.hf(**batch).logits
    for plan in plans:
        with attach(any_model, None if zero is None else plan.at(zero)) as yielded:
            assert torch.equal(any_model.hf(**batch).logits, base)
            assert not any(layer._forward_hooks for layer in any_model.anatomy.layers)
        assert yielded is any_model


# How many of the hidden states (0 is the embeddings, l + 1 leaves layer l) lie before the edit.
BEFORE = {resid_pre(2): 3, resid_post(2): 3, attn_out(2): 3, mlp_out(2): 3, embed: 0, final: 4}


def test_every_site_changes_the_output_and_nothing_before(any_model: Model) -> None:
    batch, real = any_model.batch(ROWS), _real(any_model)
    base = any_model.hf(**batch, output_hidden_states=True)
    for site, before in BEFORE.items():
        with attach(any_model, add(site, V)):
            steered = any_model.hf(**batch, output_hidden_states=True)
        same = [
            torch.equal(a, b)
            for a, b in zip(steered.hidden_states, base.hidden_states, strict=True)
        ]
        assert same == [True] * before + [False] * (tiny.N_LAYERS + 1 - before), site
        assert (steered.logits != base.logits)[real].any(-1).all()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_block_is_edited_where_it_is_added(family: str) -> None:
    model = tiny.model(family)
    base, real = _states(model)[2], _real(model)
    with attach(model, add(mlp_out(1), V)):
        torch.testing.assert_close(_states(model)[2][real], base[real] + V, rtol=0, atol=1e-4)
    with attach(model, add(attn_out(1), V)):  # which the layer's own MLP reads
        moved = _states(model)[2][real] - base[real] - V
    assert (moved.abs().amax(-1) > 1e-2).all()


def test_a_bare_transformers_model_is_steered(model: Model) -> None:
    base, hf = _states(model), model.hf
    with attach(hf, add(resid_post(1), V)) as wrapped:
        assert isinstance(wrapped, Model)
        assert wrapped.hf is hf
        steered = _states(model)
    assert torch.equal(steered[2][_real(model)], base[2][_real(model)] + V)


@pytest.mark.parametrize(
    "plan",
    [add(resid_post(1), V, keep_norm=True), ablate(resid_post(1), V)],
    ids=["keep", "ablate"],
)
def test_an_edit_is_that_of_one_token_at_a_time(model: Model, plan: Plan) -> None:
    item = next(iter(plan))
    name = "ablate" if item.edit.name == "ablate" else "keep"
    base = _states(model)
    with attach(model, 0.7 * plan):
        steered = _states(model)
    for row, column in _real(model).nonzero().tolist():
        step = onerow.Step("resid_post", 1, name, V, "all", 0.7)
        expected = onerow.edited(base[2][row, column], step)
        torch.testing.assert_close(steered[2][row, column], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("made", [Plan((), {}), Plan((), {"model": "tiny-llama"})])
def test_another_hidden_size_is_refused(model: Model, made: Plan) -> None:
    plan = Plan(add(resid_post(1), tiny.vector(0, 31)).interventions, made.meta)
    made_for = " (made for tiny-llama)" if made.meta else ""
    message = (
        f"attach: the plan edits a hidden size of 31{made_for}, but tiny-llama has 32 at "
        "resid_post.1; extract a plan from this model"
    )
    with pytest.raises(PlanError, match="^" + re.escape(message)), attach(model, plan):
        raise AssertionError("entered")
    assert tiny.hook_count(model.hf) == 0


def test_a_missing_layer_is_refused(model: Model) -> None:
    plan = add(resid_post(1), V) + add(resid_post(4), V)
    with (
        pytest.raises(SiteError, match=r"^site resid_post.4: the model has 4"),
        attach(model, plan),
    ):
        raise AssertionError("entered")
    assert tiny.hook_count(model.hf) == 0


def test_what_is_no_plan_is_refused(model: Model) -> None:
    message = "^attach: expected a Plan or None, got Tensor$"
    with (
        onerow.unchecked(),
        pytest.raises(PlanError, match=message),
        attach(model, V),  # type: ignore[arg-type]
    ):
        raise AssertionError("entered")
