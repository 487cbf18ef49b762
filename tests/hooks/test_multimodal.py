"""A LLaVA-style model: a vision tower, a projector, and a language model inside a wrapper."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

import families
import onerow
import parts
import tiny
from steer.hooks import (
    GENERATED,
    PROMPT,
    Model,
    PlanError,
    Site,
    Span,
    add,
    attach,
    attn_out,
    capture,
    embed,
    final,
    mlp_out,
    resid_post,
    resid_pre,
)
from steer.hooks import (
    IMAGE as IMAGES,
)
from steer.hooks import (
    TEXT as TEXTS,
)

IMAGE, PATCHES = 63, 4
TEXT = [[5, 6, 7], [8, 9]]
ROWS = [[*row[:1], *[IMAGE] * PATCHES, *row[1:]] for row in TEXT]


@pytest.fixture
def llava() -> Model:
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=tiny.N_LAYERS,  # as many as in the text model, to mislead a search
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        projection_dim=16,
    )
    text = LlamaConfig(**tiny._COMMON | {"vocab_size": 64})
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    hf = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    return Model(hf, tiny.tokenizer())


def _inputs(model: Model) -> dict[str, Tensor]:
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return {**model.batch(ROWS), "pixel_values": pixels}


def _states(model: Model, **inputs: Tensor) -> tuple[Tensor, ...]:
    states: tuple[Tensor, ...] = model.hf(**inputs, output_hidden_states=True).hidden_states
    return states


def test_the_text_layers_are_found(llava: Model) -> None:
    assert llava.anatomy.layers is llava.hf.model.language_model.layers
    assert llava.anatomy.embedding is llava.hf.model.language_model.embed_tokens
    assert llava.d_model == tiny.D_MODEL


def test_sites_are_those_of_the_text_model(llava: Model) -> None:
    inputs = _inputs(llava)
    states = _states(llava, **inputs)
    sites = [resid_pre(1), attn_out(1), mlp_out(1), resid_post(1), final]
    got = capture(llava, inputs, sites)
    assert torch.equal(got[resid_post(1)], states[2])
    assert torch.equal(got[final], states[-1])
    total = got[resid_pre(1)] + got[attn_out(1)] + got[mlp_out(1)]
    torch.testing.assert_close(got[resid_post(1)], total)


def test_a_text_layer_is_steered(llava: Model) -> None:
    inputs, v = _inputs(llava), tiny.vector()
    base = _states(llava, **inputs)
    with attach(llava, add(resid_post(1), v)):
        steered = _states(llava, **inputs)
    real = inputs["attention_mask"].bool()
    assert torch.equal(steered[1], base[1])
    assert torch.equal(steered[2][real], base[2][real] + v)
    assert torch.equal(steered[2][~real], base[2][~real])


def test_embed_holds_the_image_patches(llava: Model) -> None:
    inputs, v = _inputs(llava), tiny.vector()
    table = llava.anatomy.embedding.weight
    merged = capture(llava, inputs, [embed])[embed]
    assert torch.equal(merged, _states(llava, **inputs)[0])
    image = inputs["input_ids"] == IMAGE
    assert torch.equal(merged[~image], table[inputs["input_ids"][~image]])
    assert (merged[image] != table[IMAGE]).any(-1).all()
    with attach(llava, add(embed, v)):
        steered = _states(llava, **inputs)[0]
        assert torch.equal(capture(llava, inputs, [embed])[embed], steered)
    real = inputs["attention_mask"].bool()
    assert torch.equal(steered[real], merged[real] + v)
    assert torch.equal(steered[~real], merged[~real])


def test_embed_without_an_image_is_edited_once(llava: Model) -> None:
    batch, v = llava.batch(TEXT), tiny.vector()
    base = _states(llava, **batch)[0]
    with attach(llava, add(embed, v, span="last")):
        steered = _states(llava, **batch)[0]
    assert torch.equal(steered[:, -1], base[:, -1] + v)
    assert torch.equal(steered[:, :-1], base[:, :-1])


@pytest.mark.parametrize("span", ["all", "prompt", "generated", "last"])
@pytest.mark.parametrize("site", [resid_post(1), embed])
def test_generation_agrees_with_full_passes(llava: Model, site: Any, span: str) -> None:
    inputs, n = _inputs(llava), 3
    del inputs["position_ids"]
    with attach(llava, add(site, tiny.vector(), strength=2.0, span=span)):
        got = llava.hf.generate(**inputs, max_new_tokens=n, do_sample=False, eos_token_id=None)
    kind, layer = site.kind, site.layer or 0
    step = onerow.Step(kind, layer, "add", tiny.vector(), span, 2.0)
    language = llava.hf.model.language_model
    for row, image, new in zip(ROWS, inputs["pixel_values"], got[:, len(ROWS[0]) :], strict=True):
        merged = capture(
            llava, {"input_ids": torch.tensor([row]), "pixel_values": image[None]}, [embed]
        )
        states = merged[embed]
        for token in new:
            out = onerow.states(language, states, len(row), [step])
            assert llava.hf.lm_head(out[-1]).argmax() == token
            states = torch.cat([states, language.embed_tokens(token)[None, None]], dim=1)


FAMILIES = sorted(families.IMAGES)


def _chosen(ids: Tensor, mask: Tensor, prompt: int) -> dict[Span, Tensor]:
    """Which tokens of a batch each span selects, counted by hand from its ids."""
    image, real = ids == IMAGE, mask.bool()
    new = torch.arange(ids.shape[1]) >= prompt
    return {
        IMAGES: image & real,
        TEXTS: ~image & real,
        PROMPT & TEXTS: ~image & real & ~new,
        GENERATED | IMAGES: (image | new) & real,
    }


SPANS = list(_chosen(torch.zeros(1, 1), torch.zeros(1, 1), 0))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_has_four_image_tokens_and_its_own_text(family: str) -> None:
    inputs = families.image_inputs(family, TEXT)
    chosen = _chosen(inputs["input_ids"], inputs["attention_mask"], 99)
    marks = 2 if family in ("gemma3_vlm", "qwen2_5_vl") else 0  # begin and end of the image
    assert chosen[IMAGES].sum(1).tolist() == [4, 4]
    assert chosen[TEXTS].sum(1).tolist() == [len(row) + marks for row in TEXT]


@pytest.mark.parametrize("span", SPANS, ids=str)
@pytest.mark.parametrize("site", [resid_post(1), embed], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_image_and_text_tokens_are_told_apart(family: str, site: Site, span: Span) -> None:
    model, v = parts.model(family), tiny.vector()
    inputs = families.image_inputs(family, TEXT)
    width = inputs["input_ids"].shape[1]
    here = _chosen(inputs["input_ids"], inputs["attention_mask"], width)[span]
    first = parts.part(model.hf, family, "resid_post", 1)
    merged: list[Tensor] = []  # what the first layer is given
    layer = parts.part(model.hf, family, "resid_pre", 0)
    handle = layer.register_forward_pre_hook(lambda _, args: merged.append(args[0].clone()))
    with parts.reading([first]) as (states,):
        parts.logits(model.hf, inputs)
        with attach(model, add(site, v, span=span)):
            parts.logits(model.hf, inputs)
    handle.remove()
    base, steered = merged if site == embed else states
    assert torch.equal(steered[here], base[here] + v)
    assert torch.equal(steered[~here], base[~here])
    assert here.any()
    assert not here.all()


def _longer(inputs: dict[str, Tensor], new: Tensor) -> dict[str, Tensor]:
    """The inputs with `[rows, n]` tokens of text behind."""
    filled = {"input_ids": new, "attention_mask": torch.ones_like(new)}
    types = ("token_type_ids", "mm_token_type_ids")
    filled |= {name: torch.zeros_like(new) for name in types if name in inputs}
    return inputs | {name: torch.cat([inputs[name], more], 1) for name, more in filled.items()}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("span", SPANS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_image_and_text_tokens_are_told_apart_in_generate(
    family: str, span: Span, cached: bool
) -> None:
    model, v = parts.model(family), tiny.vector()
    inputs = families.image_inputs(family, TEXT)
    prompt = inputs["input_ids"].shape[1]
    with attach(model, add(resid_post(1), v, strength=2.0, span=span)):
        new, scores = parts.generated(model.hf, inputs, use_cache=cached)
    whole = _longer(inputs, new[:, :-1])
    here = _chosen(whole["input_ids"], whole["attention_mask"], prompt)[span]
    layer = parts.part(model.hf, family, "resid_post", 1)
    plain = parts.logits(model.hf, whole)[:, prompt - 1 :]
    with parts.changing(layer, parts.adding(2 * v, here)):
        full = parts.logits(model.hf, whole)[:, prompt - 1 :]
    torch.testing.assert_close(scores, full, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(full, plain, atol=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_an_image_only_text_is_selected(family: str) -> None:
    model, v = parts.model(family), tiny.vector()
    inputs = parts.batch(family, TEXT)
    base = parts.logits(model.hf, inputs)
    with attach(model, add(resid_post(1), v, span="image")):
        assert torch.equal(parts.logits(model.hf, inputs), base)
    with attach(model, add(resid_post(1), v, span="text")):
        text = parts.logits(model.hf, inputs)
    with attach(model, add(resid_post(1), v)):
        assert torch.equal(parts.logits(model.hf, inputs), text)


@pytest.mark.parametrize("span", [IMAGES, TEXTS, PROMPT & ~IMAGES], ids=str)
def test_a_model_of_text_has_no_image_tokens(model: Model, span: Span) -> None:
    message = "^span (image|text): LlamaConfig names no image token"
    with (
        pytest.raises(PlanError, match=message),
        attach(model, add(resid_post(1), tiny.vector(), span=span)),
    ):
        raise AssertionError("entered")
