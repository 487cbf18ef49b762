"""The pass of two tokens that is made when a model is wrapped, and modules named by hand."""

import gc
import re
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, LlamaModel, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

import families
import parts
import tiny
from steer.hooks import (
    Model,
    ModelError,
    Plan,
    Site,
    SiteError,
    add,
    attach,
    attn_out,
    capture,
    embed,
    final,
    heads,
    mlp_out,
    resid_post,
    resid_pre,
)

V = tiny.vector()
IDS = torch.tensor([[5, 6, 7, 8]])
PLAN: Plan = add(resid_post(1), V, span="last") + add(mlp_out(2), V) + add(heads(3), V)


def _logits(hf: PreTrainedModel, **more: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = hf(input_ids=IDS, use_cache=False, **more).logits
    return out


def test_no_hook_of_the_user_sees_the_pass() -> None:
    hf, seen = tiny.network(), []
    modules = [hf, hf.model, hf.model.layers[1], hf.model.embed_tokens, hf.lm_head]
    handles = [
        handle
        for module in modules
        for handle in (
            module.register_forward_hook(lambda *_: seen.append("after")),
            module.register_forward_hook(lambda *_: seen.append("always"), always_call=True),
            module.register_forward_pre_hook(lambda *_: seen.append("kw"), with_kwargs=True),
        )
    ]
    count = tiny.hook_count(hf)
    Model(hf)
    assert seen == []
    assert tiny.hook_count(hf) == count
    _logits(hf)
    assert len(seen) == len(handles)
    for handle in handles:
        handle.remove()
    assert tiny.hook_count(hf) == 0


def _modes(hf: PreTrainedModel) -> list[bool]:
    return [module.training for module in hf.modules()]


TRAINING: dict[str, Callable[[PreTrainedModel], Any]] = {
    "evaluated": lambda hf: hf.eval(),
    "trained": lambda hf: hf.train(),
    "trained in part": lambda hf: hf.eval().transformer.h[0].train(),
}


@pytest.mark.parametrize("mode", TRAINING)
def test_random_numbers_and_modes_stay(mode: str) -> None:
    hf = tiny.network("gpt2")  # with dropout
    TRAINING[mode](hf)
    modes, state = _modes(hf), torch.get_rng_state()
    Model(hf)
    assert torch.equal(torch.get_rng_state(), state)
    assert _modes(hf) == modes
    _logits(hf)
    drawn = not torch.equal(torch.get_rng_state(), state)
    assert drawn == (mode != "evaluated")


def test_parameters_and_gradients_stay() -> None:
    hf = tiny.network()
    before = {name: tensor.clone() for name, tensor in hf.state_dict().items()}
    Model(hf)
    assert torch.is_grad_enabled()
    assert all(p.grad is None and p.requires_grad for p in hf.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in hf.state_dict().items())


def _counted(hf: PreTrainedModel) -> list[str]:
    calls, forward = [], hf.forward

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append("forward")
        return forward(*args, **kwargs)

    hf.forward = counting
    return calls


def test_the_pass_is_made_once_for_each_model() -> None:
    hf, other = tiny.network(), tiny.network()
    calls, others = _counted(hf), _counted(other)
    first, second = Model(hf), Model(hf)
    assert (calls, others) == (["forward"], [])
    assert first.findings.widths == second.findings.widths != {}
    Model(other)
    assert others == ["forward"]
    Model(hf, places={"mlp_out": "mlp"})  # named by hand: to be seen anew
    assert calls == ["forward"] * 2


def test_a_model_is_not_kept_alive() -> None:
    hf = tiny.network()
    Model(hf)
    gone = weakref.ref(hf)
    del hf
    gc.collect()
    assert gone() is None


class Foo(nn.Module):
    """An MLP that does not say so."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, states: Tensor) -> Tensor:
        return self.inner(states)


class Layer(LlamaDecoderLayer):
    @property
    def mlp(self) -> nn.Module:
        return self.ffn


class Stack(LlamaModel):
    @property
    def layers(self) -> nn.ModuleList:
        return self.blocks


def _renamed() -> PreTrainedModel:
    """Llama with `layers` called `blocks`, after as many modules that never run, and own MLPs."""
    hf = tiny.network()
    held = hf.model._modules
    for layer in hf.model.layers:
        layer.__class__ = Layer
        layer._modules["ffn"] = Foo(layer._modules.pop("mlp"))
    hf.model.__class__ = Stack
    rest = dict(held)
    held.clear()
    held["decoys"] = nn.ModuleList(nn.Sequential(nn.Linear(32, 32)) for _ in range(4))
    held["blocks"] = rest.pop("layers")
    held.update(rest)
    return hf


PLACES = {"layers": "model.blocks", "mlp_out": "ffn"}


def test_modules_named_by_hand_are_used() -> None:
    hf = _renamed()
    model = Model(hf, places=PLACES)
    assert model.anatomy.layers is hf.model.blocks
    assert model.anatomy.module(mlp_out(1)) is hf.model.blocks[1].ffn
    usual = tiny.model()
    assert torch.equal(_logits(hf), _logits(usual.hf))
    with attach(model, PLAN), attach(usual, PLAN):
        assert torch.equal(_logits(hf), _logits(usual.hf))
        tokens = [m.hf.generate(IDS, max_new_tokens=3, eos_token_id=None) for m in (model, usual)]
    assert torch.equal(*tokens)


def test_what_is_not_found_says_how_to_name_it() -> None:
    with pytest.raises(
        ModelError,
        match=r"^LlamaForCausalLM: no layer of Stack ran for two tokens; name the layers with "
        r'places=\{"layers": "path.to.the.layers"\}$',
    ):
        Model(_renamed())
    model = Model(_renamed(), places={"layers": "model.blocks"})
    with pytest.raises(
        SiteError,
        match=r"^site mlp_out.1: looked in Layer .* ffn \(Foo\).*"
        r'; name it with places=\{"mlp_out": ...\}$',
    ):
        model.check(mlp_out(1))
    model.check(attn_out(1))


@pytest.mark.parametrize(
    ("name", "path", "site"),
    [
        ("attn_out", "mlp", attn_out(1)),
        ("mlp_out", "self_attn", mlp_out(1)),
        ("heads", "mlp.down_proj", heads(1)),
        ("embed", "model.norm", embed),
        ("final", "model.layers.2.input_layernorm", final),
    ],
)
def test_a_place_wins_over_what_is_found(name: str, path: str, site: Site) -> None:
    hf = tiny.network()
    model = Model(hf, places={name: path})
    inside = hf if site.layer is None else hf.model.layers[1]
    assert model.anatomy.module(site) is inside.get_submodule(path)
    if name == "heads":
        assert model.width(site) == 48  # the inner size of the MLP
    if name == "final":
        with pytest.raises(SiteError, match="^site final: the LM head does not read .* places="):
            model.check(final)


def _with_spare() -> PreTrainedModel:
    hf = tiny.network()
    hf.spare = LlamaModel(hf.config)
    return hf


WRONG = {
    "unknown name": (
        {"layer": "model.layers"},
        "places: unknown name 'layer'; expected layers, embed, final, attn_out, mlp_out, heads, "
        "router",
    ),
    "no such path": (
        {"layers": "model.nope"},
        "places: 'layers' names 'model.nope', but LlamaForCausalLM has model (LlamaModel), lm_head",
    ),
    "no such norm": ({"final": "norm"}, "places: 'final' names 'norm', but LlamaForCausalLM has "),
    "no such table": ({"embed": "nope"}, "places: 'embed' names 'nope', but LlamaForCausalLM has "),
    "no list": (
        {"layers": "model.norm"},
        "places: \"layers\" names 'model.norm', a LlamaRMSNorm; expected a ModuleList",
    ),
    "not called": (
        {"layers": "spare.layers"},
        "LlamaForCausalLM: LlamaModel, which holds the layers, is not called by the model; name "
        'the layers with places={"layers": "path.to.the.layers"}',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_place_is_refused(case: str) -> None:
    places, message = WRONG[case]
    with pytest.raises(ModelError, match="^" + re.escape(message)):
        Model(_with_spare(), places=places)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (
            {"mlp_out": "nope"},
            "places: 'mlp_out' names 'nope', but LlamaDecoderLayer has self_attn",
        ),
        ({"mlp_out": "mlp.up_proj"}, "site mlp_out.1: Linear gave (1, 2, 48) for two tokens, "),
    ],
)
def test_a_wrong_place_in_a_layer_is_refused_where_it_is_used(
    places: dict[str, str], message: str
) -> None:
    model = Model(tiny.network(), places=places)
    with pytest.raises(SiteError, match="^" + re.escape(message) + ".*") as caught:
        model.check(mlp_out(1))
    assert "places" in str(caught.value)
    model.check(attn_out(1))


def test_a_norm_that_the_head_does_not_read_is_no_final_norm() -> None:
    model = parts.model("bart")
    assert set(model.findings.refused) == {final}
    message = "^site final: the LM head does not read what leaves LayerNorm; .*places="
    with pytest.raises(SiteError, match=message):
        capture(model, parts.batch("bart", [[5, 6]]), [final])


class Blind(LlamaForCausalLM):
    """Does not run without an image."""

    def forward(self, *args: Any, image: Tensor | None = None, **kwargs: Any) -> Any:
        if image is None:
            raise ValueError("no image\nat all")
        return super().forward(*args, **kwargs)


def test_a_model_that_does_not_run_on_text_is_unchecked_and_works() -> None:
    hf = tiny.network()
    hf.__class__ = Blind
    seen: list[str] = []
    handle = hf.model.register_forward_hook(lambda *_: seen.append("hook"))
    model, usual = Model(hf), tiny.model()
    assert model.findings.unchecked == "ValueError: no image"
    assert usual.findings.unchecked is None
    handle.remove()
    assert (tiny.hook_count(hf), seen) == (0, [])
    image = torch.zeros(1)
    with attach(model, PLAN), attach(usual, PLAN):
        assert torch.equal(_logits(hf, image=image), _logits(usual.hf))
    assert model.width(mlp_out(1)) == tiny.D_MODEL
    assert model.width(heads(1)) is None


def _meta(family: str) -> PreTrainedModel:
    with torch.device("meta"):
        return families._BUILDERS[family]().eval()


@pytest.mark.parametrize(
    ("family", "why"),
    [("llama", "RuntimeError: Tensor.item() cannot be called on meta tensors"), ("opt", None)],
)
def test_a_model_without_weights_is_wrapped_and_says_why_it_is_unchecked(
    family: str, why: str | None
) -> None:
    hf = _meta(family)  # transformers itself asks for a value of Llama's mask
    model = Model(hf)
    assert model.findings.unchecked == why
    assert model.findings.refused == {}
    for site in (resid_pre(1), attn_out(1), mlp_out(1), heads(1), final):
        model.check(site)
        assert model.anatomy.module(site) is parts.part(hf, family, site.kind, site.layer or 0)
    assert model.width(mlp_out(1)) == tiny.D_MODEL
    assert model.width(heads(1)) == (None if why else tiny.D_MODEL)
    with attach(model, PLAN):
        assert tiny.hook_count(hf) > 0


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_runs_on_two_tokens(family: str) -> None:
    assert parts.model(family).findings.unchecked is None
    assert resid_pre(0) not in parts.model(family).findings.refused
