"""A plan does to a model in nnsight what it does to the model alone, in traces and out of them."""

import copy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import families
import tiny
from steer.hooks import (
    Model,
    add,
    attach,
    capture,
    record,
    resid_post,
    resid_pre,
)
from wrapped import BACKEND_FAMILIES, SPANS, everywhere, plan_at, sites_of

if find_spec("nnsight") is None:
    pytest.skip("nnsight is not installed", allow_module_level=True)

TEXT = "Who is the big dog in Paris ?"
TEXTS = ["the sky is blue", TEXT]
GREEDY: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
V = 2 * tiny.vector(9)
every_family = pytest.mark.parametrize("family", BACKEND_FAMILIES)
every_span = pytest.mark.parametrize("span", SPANS)


@contextmanager
def _nnsight() -> Iterator[Any]:
    """nnsight with what it replaces in the whole process, and that put back afterwards.

    It is not imported by this module: pytest imports all test modules before it runs the first.
    """
    backward = torch.Tensor.backward
    import nnsight
    from nnsight import _c, intervention

    intervention.backward.install()
    _c.mount(nnsight.save, "save")
    try:
        yield nnsight
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
        if hasattr(object, "save"):
            _c.unmount("save")


@pytest.fixture(scope="module")
def nnsight() -> Iterator[Any]:
    with _nnsight() as imported:
        yield imported


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_nothing_of_nnsight_is_left_for_other_tests() -> None:
    # The first test of the module: the fixture that holds for all others is not yet there.
    own = torch.Tensor.backward
    assert own.__module__ == "torch._tensor"
    with _nnsight():
        assert torch.Tensor.backward is not own
        assert hasattr(object, "save")
    assert torch.Tensor.backward is own
    assert not hasattr(object, "save")
    v = torch.ones(3, requires_grad=True)
    # fmt: off
    with torch.enable_grad(): (2 * v).sum().backward()  # noqa: E701
    # fmt: on
    assert v.grad is not None  # nnsight's does nothing on the line of a `with`


def _tokenizer() -> Any:
    tokenizer = tiny.tokenizer()
    tokenizer.padding_side = "left"  # as nnsight sets it
    return tokenizer


@cache
def _pair(family: str) -> tuple[Any, PreTrainedModel]:
    """A model in nnsight, and a plain copy."""
    from nnsight import TransformersModel

    plain = families.network(family)
    return TransformersModel(copy.deepcopy(plain), tokenizer=_tokenizer()), plain


def _logits(plain: PreTrainedModel, plan: Any, text: str = TEXT) -> Tensor:
    with attach(plain, plan):
        out: Tensor = plain(**_tokenizer()(text, return_tensors="pt")).logits
    return out


def _generated(plain: PreTrainedModel, plan: Any) -> list[list[int]]:
    batch = _tokenizer()(TEXTS, return_tensors="pt", padding=True)
    with attach(plain, plan):
        out: list[list[int]] = plain.generate(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **GREEDY
        ).tolist()
    return out


def _layers(lm: Any) -> Any:
    return lm.transformer.h if hasattr(lm, "transformer") else lm.model.layers


@every_span
@every_family
def test_a_trace_gives_the_logits_of_the_plain_model(nnsight: Any, family: str, span: str) -> None:
    lm, plain = _pair(family)
    clean = _logits(plain, None)
    for site in sites_of(family):
        plan = plan_at(site, span)
        with attach(lm, plan), lm.trace(TEXT):
            head = lm.lm_head.output.save()
            logits = lm.output.logits.save()
        expected = _logits(plain, plan)
        assert torch.equal(logits, expected), site
        assert torch.equal(head, expected), site
        assert torch.allclose(expected, clean, atol=1e-2) == (span == "generated"), site


@every_span
@every_family
def test_generations_are_those_of_the_plain_model(nnsight: Any, family: str, span: str) -> None:
    lm, plain = _pair(family)
    plan = everywhere(family, span)
    expected = _generated(plain, plan)
    with attach(lm, plan):
        called = lm.generate(TEXTS, **GREEDY)
        uncached = lm.generate(TEXTS, use_cache=False, **GREEDY)
        with lm.generate(TEXTS, **GREEDY) as tracer:
            traced = tracer.result.save()
    assert called.tolist() == uncached.tolist() == traced.tolist() == expected
    assert expected != _generated(plain, None)


@every_span
def test_a_language_model_is_steered_too(nnsight: Any, span: str) -> None:
    plain = families.network("gpt2")
    with pytest.warns(nnsight.NNsightDeprecationWarning, match="LanguageModel is deprecated"):
        lm = nnsight.LanguageModel(copy.deepcopy(plain), tokenizer=_tokenizer())
    plan = everywhere("gpt2", span)
    with attach(lm, plan) as model:
        with lm.trace(TEXT):
            logits = lm.output.logits.save()
        assert lm.generate(TEXTS, **GREEDY).tolist() == _generated(plain, plan)
    assert torch.equal(logits, _logits(plain, plan))
    assert model.tokenizer is lm.tokenizer


def test_the_model_inside_is_steered_out_of_a_trace(nnsight: Any) -> None:
    for family in BACKEND_FAMILIES:
        lm, plain = _pair(family)
        plan = everywhere(family, "last")
        model = Model(lm)
        with attach(model, plan):
            got = model.hf(**_tokenizer()(TEXT, return_tensors="pt")).logits
        assert torch.equal(got, _logits(plain, plan))


@pytest.mark.parametrize("span", ["all", "prompt", "last"])
def test_invokes_of_unequal_lengths_are_steered_as_alone(nnsight: Any, span: str) -> None:
    for family in ("gpt2", "llama"):
        lm, plain = _pair(family)
        plan = plan_at(resid_post(1), span)
        with attach(lm, plan), lm.trace() as tracer:
            with tracer.invoke(TEXTS[0]):
                short = lm.lm_head.output[0, -1].save()
            with tracer.invoke(TEXTS[1]):
                long = lm.lm_head.output[0, -1].save()
        for got, text in ((short, TEXTS[0]), (long, TEXTS[1])):
            expected = _logits(plain, plan, text)[0, -1]
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_each_row_has_its_own_plan(nnsight: Any) -> None:
    for family in ("gpt2", "qwen3_moe"):
        lm, plain = _pair(family)
        plans = [everywhere(family, "generated"), None]
        with attach(lm, plans):
            got = lm.generate(TEXTS, **GREEDY).tolist()
        assert got == _generated(plain, plans)
        clean = _generated(plain, None)
        assert got[1] == clean[1]
        assert got[0] != clean[0]


@every_family
def test_a_trace_edits_a_layers_output_before_the_plan_does(nnsight: Any, family: str) -> None:
    lm, plain = _pair(family)
    plan = plan_at(resid_post(1))
    layers = _layers(lm)
    with attach(lm, plan):
        with lm.trace(TEXT):
            layers[1].output[:] += V
            changed = lm.lm_head.output.save()
        with lm.trace(TEXT):
            layers[1].output = layers[1].output + V
            replaced = lm.lm_head.output.save()
        with lm.trace(TEXT):
            layers[2].input = layers[2].input + V
            later = lm.lm_head.output.save()
    before = _logits(plain, add(resid_post(1), V) + plan)
    after = _logits(plain, plan + add(resid_post(1), V))
    assert torch.equal(changed, before)
    assert torch.equal(replaced, before)
    assert torch.equal(later, after)
    assert not torch.allclose(before, after, atol=0.1)


@every_family
def test_a_trace_reads_outputs_unedited_and_what_follows_edited(nnsight: Any, family: str) -> None:
    lm, plain = _pair(family)
    layers = _layers(lm)
    inputs = dict(_tokenizer()(TEXT, return_tensors="pt"))
    model = Model(plain)
    sites = [resid_pre(1), resid_post(1)]
    clean = capture(model, inputs, [resid_post(1)])[resid_post(1)]
    edited = {}
    for site in sites:
        with attach(model, plan_at(site)):
            edited[site] = capture(model, inputs, [site])[site]
    with attach(lm, plan_at(resid_post(1))), lm.trace(TEXT):
        own = layers[1].output.save()
        following = layers[2].input.save()
    with attach(lm, plan_at(resid_pre(1))), lm.trace(TEXT):
        entering = layers[1].input.save()
    assert torch.equal(own, clean)
    assert torch.equal(following, edited[resid_post(1)])
    assert torch.equal(entering, edited[resid_pre(1)])


@every_family
def test_what_is_recorded_is_the_plain_models(nnsight: Any, family: str) -> None:
    lm, plain = _pair(family)
    model = Model(plain, tiny.tokenizer())
    for plan in (None, everywhere(family, "last")):
        with attach(model, plan):
            expected = record(model, TEXTS, sites_of(family), pool="mean")
        with attach(lm, plan):
            got = record(lm, TEXTS, sites_of(family), pool="mean")
        for site in sites_of(family):
            assert torch.equal(got[site], expected[site]), site


def test_a_gradient_reaches_a_vector_through_a_trace(nnsight: Any) -> None:
    lm, plain = _pair("llama")
    grads = []
    for traced in (False, True):
        v = tiny.vector(3).requires_grad_()
        with torch.enable_grad():
            if traced:
                with attach(lm, add(resid_post(1), v)), lm.trace(TEXT):
                    logits = lm.output.logits.save()
            else:
                logits = _logits(plain, add(resid_post(1), v))
            loss = logits.log_softmax(-1)[0, -1, 5]
            loss.backward()
        grads.append(v.grad)
    assert grads[0].norm() > 1e-3
    assert torch.equal(grads[0], grads[1])


def test_a_block_leaves_nothing(nnsight: Any) -> None:
    for family in BACKEND_FAMILIES:
        lm, plain = _pair(family)
        hf = Model(lm).hf
        held, hooks = dict(hf.__dict__), tiny.hook_count(hf)
        with pytest.raises(Exception, match="stop"), attach(lm, everywhere(family, "all")):
            lm.generate(TEXTS, **GREEDY)
            with lm.trace(TEXT):
                _layers(lm)[1].output.save()
                raise KeyError("stop")
        assert tiny.hook_count(hf) == hooks
        assert hf.__dict__ == held
        with lm.trace(TEXT):
            logits = lm.output.logits.save()
        assert torch.equal(logits, _logits(plain, None))


def test_steering_a_plain_model_never_imports_nnsight_or_transformer_lens() -> None:
    code = """
import sys, torch, tiny
import steer
from steer.hooks import Model, add, attach, record, resid_post
model = tiny.model()
with attach(model.hf, add(resid_post(1), tiny.vector())):
    model.hf(torch.tensor([[5, 6]]))
    model.generate_text("the sky is", max_new_tokens=2)
    record(model, ["the sky"], resid_post(1))
found = {name.partition(".")[0] for name in sys.modules} & {"nnsight", "transformer_lens"}
assert not found, found
assert torch.Tensor.backward.__module__ == "torch._tensor"
"""
    path = str(Path(tiny.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}){code}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
