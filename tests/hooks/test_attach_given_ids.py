"""Tokens that a module around the decoder was given end with its pass."""

import pytest
import torch
from torch import Tensor

import families
import parts
from ruled import V, close
from steer.hooks import (
    DataError,
    Model,
    Plan,
    add,
    attach,
    resid_post,
)


def _llava() -> tuple[Model, dict[str, Tensor], Tensor]:
    """A model, a batch with an image and text of the same length; both have a token 7."""
    inputs = families.image_inputs("llava", [[5, 6, 7]])
    return parts.model("llava"), inputs, torch.arange(5, 12).unsqueeze(0)


@pytest.fixture
def image_plan() -> Plan:
    return add(resid_post(1), V, strength=3.0, span="image")


@torch.no_grad()
def test_an_image_is_edited_where_it_is(image_plan: Plan) -> None:
    model, inputs, _ = _llava()
    layer = parts.part(model.hf, "llava", "resid_post", 1)
    assert layer is not None
    chosen = torch.tensor([[False, True, True, True, True, False, False]])
    with parts.changing(layer, parts.adding(3.0 * V, chosen)):
        expected = model.hf(**inputs).logits
    with attach(model, image_plan):
        close(model.hf(**inputs).logits, expected)
        close(model.hf.lm_head(model.hf.model(**inputs).last_hidden_state), expected)


@torch.no_grad()
def test_text_given_to_an_inner_module_has_no_stale_image(image_plan: Plan) -> None:
    model, inputs, text = _llava()
    plain = model.hf.model(text).last_hidden_state
    with attach(model, image_plan):
        model.hf(**inputs)
        for inner in (model.hf.model, model.hf.model.language_model):
            close(inner(text).last_hidden_state, plain)
            close(inner(input_ids=text).last_hidden_state, plain)


@torch.no_grad()
def test_embeddings_given_to_an_inner_module_have_no_tokens(image_plan: Plan) -> None:
    model, inputs, text = _llava()
    embeds = model.hf.model.language_model.embed_tokens(text)
    message = "^span any_of: the tokens of this pass are not known"
    for inner in (model.hf, model.hf.model, model.hf.model.language_model):
        for begun in (False, True):
            with attach(model, image_plan):
                if begun:
                    model.hf(**inputs)
                with pytest.raises(DataError, match=message):
                    inner(inputs_embeds=embeds)


@torch.no_grad()
def test_a_call_that_failed_leaves_no_tokens_behind(image_plan: Plan) -> None:
    model, inputs, text = _llava()
    embeds = model.hf.model.language_model.embed_tokens(text)
    with attach(model, image_plan):
        with pytest.raises((ValueError, RuntimeError)):
            model.hf(input_ids=inputs["input_ids"], pixel_values=torch.zeros(2, 3, 8, 8))
        with pytest.raises(DataError, match="tokens of this pass are not known"):
            model.hf.model.language_model(inputs_embeds=embeds)
