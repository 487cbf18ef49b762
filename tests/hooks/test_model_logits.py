from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PreTrainedModel,
)

import tiny
from steer.hooks import Model, ModelError, add, attach, capture, final, prompts, resid_post

ROWS = [[5, 6, 7, 8], [9, 10]]
SMALL: dict[str, Any] = tiny._COMMON
PLAIN = {name: value for name, value in SMALL.items() if name != "head_dim"}
SCALED: dict[str, Callable[[], PreTrainedModel]] = {
    "scale": lambda: CohereForCausalLM(CohereConfig(**PLAIN, logit_scale=0.25)),
    "divided": lambda: GraniteForCausalLM(GraniteConfig(**PLAIN, logits_scaling=4.0)),
    "capped": lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=0.5)),
}


def _model(family: str) -> Model:
    if family not in SCALED:
        return tiny.model(family)
    torch.manual_seed(0)
    hf = SCALED[family]().eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    return Model(hf, tiny.tokenizer())


@pytest.mark.parametrize("family", [*tiny.FAMILIES, *SCALED])
def test_logits_of_the_final_states_are_the_models_own(family: str) -> None:
    model = _model(family)
    batch = model.batch(ROWS)
    states = capture(model, batch, [final])[final]
    own = model.hf(**batch).logits
    torch.testing.assert_close(model.logits(states), own, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.logits(states[0, -1]), own[0, -1], rtol=1e-5, atol=1e-5)
    if family in SCALED:
        assert not torch.allclose(model.hf.lm_head(states), own, atol=0.1)


def test_half_precision_logits_are_float32(model: Model) -> None:
    model.hf.bfloat16()
    states = capture(model, model.batch(ROWS), [final])[final]
    assert model.logits(states).dtype == torch.float32


def test_an_unknown_change_of_the_logits_is_refused(model: Model) -> None:
    model.hf.register_forward_hook(lambda _, __, out: out | {"logits": out.logits * 2})
    states = capture(model, model.batch(ROWS), [final])[final]
    message = "^tiny-llama: the logits of LlamaForCausalLM are not its LM head's output"
    with pytest.raises(ModelError, match=message):
        model.logits(states)
    assert tiny.hook_count(model.hf) == 1


@pytest.mark.parametrize("span", ["all", "last"])
def test_logits_are_the_same_under_a_plan_and_told_prompts(model: Model, span: str) -> None:
    states = capture(model, model.batch(ROWS), [final])[final]
    expected = model.hf.lm_head(states)
    plan = add(final, tiny.vector(), span=span) + add(resid_post(1), tiny.vector(), span=span)
    with attach(model, plan), prompts([2, 1]):
        assert torch.equal(model.logits(states), expected)
    assert tiny.hook_count(model.hf) == 0
