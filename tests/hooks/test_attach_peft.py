"""A plan steers a model together with its adapters."""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import tiny
from steer.hooks import (
    Model,
    attach,
    heads,
    resid_post,
)
from wrapped import generated, logits, plan_at


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@cache
def _lora_weights() -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(5)
    shapes = {"A": (4, 32), "B": (32, 4)}
    return {
        f"{n}.{part}": 0.5 * torch.randn(shape, generator=source)
        for n in range(tiny.N_LAYERS)
        for part, shape in shapes.items()
    }


def _with_lora() -> Any:
    """Tiny llama with a LoRA on every output projection of attention."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["o_proj"], task_type="CAUSAL_LM")
    peft = get_peft_model(tiny.network(), config)
    for n, layer in enumerate(peft.base_model.model.model.layers):
        projection = layer.self_attn.o_proj
        projection.lora_A["default"].weight.copy_(_lora_weights()[f"{n}.A"])
        projection.lora_B["default"].weight.copy_(_lora_weights()[f"{n}.B"])
    return peft.eval()


def _with_the_sum() -> PreTrainedModel:
    """The same as a plain model whose weights hold the sum, worked out by hand."""
    hf = tiny.network()
    for n, layer in enumerate(hf.model.layers):
        more = _lora_weights()[f"{n}.B"] @ _lora_weights()[f"{n}.A"]
        layer.self_attn.o_proj.weight += 8 / 4 * more
    return hf


def needs_peft(test: Callable[..., None]) -> Callable[..., None]:
    # peft 0.21 asks transformers by an old name.
    old = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
    skip = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
    return skip(pytest.mark.filterwarnings(old)(test))


@needs_peft
def test_a_model_with_a_lora_is_steered_like_the_sum_of_both() -> None:
    peft, plain = _with_lora(), _with_the_sum()
    assert not torch.allclose(logits(plain), logits(tiny.network()), atol=0.1)
    sites = [s for s in Model(plain).anatomy.sites() if s.layer in (None, 1)]
    assert list(Model(peft).anatomy.sites()) == list(Model(plain).anatomy.sites())
    for site in sites:
        with attach(plain, plan_at(site)):
            expected, tokens = logits(plain), generated(plain)
        for given in (peft, peft.base_model, peft.base_model.model):
            with attach(given, plan_at(site)):
                torch.testing.assert_close(logits(peft), expected, rtol=0, atol=1e-4)
                assert generated(peft) == tokens


@needs_peft
def test_a_lora_that_is_off_leaves_the_base_steered() -> None:
    peft, plain = _with_lora(), tiny.network()
    plan = plan_at(heads(1))
    with attach(plain, plan):
        expected = logits(plain)
    with attach(peft, plan), peft.disable_adapter():
        assert torch.equal(logits(peft), expected)


@needs_peft
def test_a_merged_lora_stays_steered() -> None:
    peft, plain = _with_lora(), _with_the_sum()
    with attach(plain, plan_at(heads(1))):
        expected = logits(plain)
    with attach(peft, plan_at(heads(1))):
        peft.merge_adapter()
        torch.testing.assert_close(logits(peft), expected, rtol=0, atol=1e-4)
    merged = _with_lora().merge_and_unload()
    with attach(merged, plan_at(heads(1))):
        torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-4)


@needs_peft
def test_a_steered_lora_gets_the_gradient_of_the_plain_factors() -> None:
    peft, plain = _with_lora(), _with_the_sum()
    weight = plain.model.layers[2].self_attn.o_proj.weight
    factors = peft.base_model.model.model.layers[2].self_attn.o_proj
    with torch.enable_grad():
        for model, given in ((plain, plain), (peft, peft)):
            with attach(given, plan_at(resid_post(1)) + plan_at(heads(2))):
                logits(model).log_softmax(-1)[:, 5].sum().backward()
    expected = 8 / 4 * weight.grad @ _lora_weights()["2.A"].T  # the chain rule, by hand
    got = factors.lora_B["default"].weight.grad
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
