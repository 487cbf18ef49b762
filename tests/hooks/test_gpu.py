"""Steering asks a GPU for nothing while it works: the host runs ahead of it as without a plan."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

import tiny
from steer.hooks import (
    Model,
    Plan,
    Site,
    Span,
    ablate,
    add,
    affine,
    after,
    any_of,
    as_span,
    attach,
    attn_out,
    clamp,
    embed,
    final,
    first,
    heads,
    masked,
    mlp_out,
    positions,
    prompts,
    replace,
    resid_post,
    resid_pre,
    rotate,
    router,
    scale_experts,
)
from steer.hooks._pass import Pass
from steer.hooks._torch_hooks import _Editor

pytestmark = pytest.mark.gpu

# Left padding, the marker 6, 7 in each row, and more than one length.
ROWS = [[5, 6, 7, 8, 9, 10], [11, 6, 7], [6, 7, 12, 13]]
NEW = [14, 15]
V, W = tiny.vector(1), tiny.vector(2)
MATRIX = torch.stack([V, W])
SITES = [embed, resid_pre(1), heads(1), attn_out(1), mlp_out(1), resid_post(1), final]


def _edits(site: Site, span: Any, device: str = "cpu") -> dict[str, Plan]:
    v, matrix = V.to(device), MATRIX.to(device)
    return {
        "add": add(site, v, span=span),
        "keep": add(site, v, span=span, keep_norm=True),
        "ablate": ablate(site, v, span=span),
        "affine": affine(site, matrix, matrix, v, strength=0.1, span=span),
        "clamp": clamp(site, v, -0.5, 0.5, span=span),
        "replace": replace(site, v, strength=0.5, span=span),
        "rotate": rotate(site, v, 30.0, span=span),
    }


EDITS = list(_edits(embed, "all"))
SPANS: dict[str, Span] = {
    "all": as_span("all"),
    "prompt": as_span("prompt"),
    "generated": as_span("generated"),
    "last": as_span("last"),
    "first": first(1),
    "positions": positions(-3) | positions(0, 1),
    "after": after([6, 7]),
    "any_of": any_of([5, 7, 14]),
    "masked": masked(torch.tensor([[True, False] * 3] * 3)),
    "joined": as_span("prompt & ~last | first(1)"),
}
every_edit = pytest.mark.parametrize("name", EDITS)


def _model(family: str, device: str) -> Model:
    return Model(tiny.network(family).to(device), tiny.tokenizer())


def _inputs(model: Model) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """A padded prompt, and the inputs of one pass a new token; all on the device beforehand."""
    batch = model.batch(ROWS)
    mask, passes = batch["attention_mask"], []
    for n, token in enumerate(NEW):
        mask = torch.cat([mask, mask.new_ones(len(ROWS), 1)], 1)
        place = batch["position_ids"][:, -1:] + n + 1
        ids = torch.full_like(place, token)
        passes.append({"input_ids": ids, "attention_mask": mask, "position_ids": place})
    return batch, passes


def _decode(model: Model, batch: dict[str, Tensor], passes: list[dict[str, Tensor]]) -> Tensor:
    """The last logits of every pass, through a cache of ours."""
    cache = DynamicCache(config=model.hf.config)
    outs = [model.hf(**given, cache=cache, use_cache=True) for given in (batch, *passes)]
    return torch.stack([out.logits[:, -1] for out in outs])


def _waits(run: Callable[[], Any]) -> tuple[int, Any]:
    """How often the host waits for the device in `run`, and what that returns."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            out = run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len([w for w in seen if "synchronizing CUDA operation" in str(w.message)]), out


def _check(family: str, plan: Any) -> None:
    """Steered passes wait no more often than others, and give what they give on the CPU.

    transformers itself may wait, where it looks whether a mask masks anything.
    """
    lengths = [len(row) for row in ROWS]
    model, host = _model(family, "cuda"), _model(family, "cpu")
    batch, passes = _inputs(model)

    def run() -> Tensor:
        return _decode(model, batch, passes)

    with torch.no_grad():
        run()  # what libraries prepare once
        allowed, clean = _waits(run)
        with attach(model, plan), prompts(lengths):
            run()  # moves the plan to the device, once a block
            waits, got = _waits(run)
        with attach(host, plan), prompts(lengths):
            expected = _decode(host, *_inputs(host))
    assert waits == allowed
    assert not torch.equal(got, clean)
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_a_wait_is_seen() -> None:
    x = torch.ones(2, device="cuda")
    assert _waits(lambda: [x[0].item(), x[1].item()]) == (2, [1.0, 1.0])
    assert _waits(lambda: (x + x).shape) == (0, (2,))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_hooks_never_wait(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any wait inside them is an error, from the first pass on."""
    for owner, name in ((Pass, "begin"), (_Editor, "__call__")):
        monkeypatch.setattr(owner, name, _strict(getattr(owner, name)))
    plans = [_edits(resid_post(1), span)[name] for span in SPANS.values() for name in EDITS]
    model = _model(family, "cuda")
    batch, passes = _inputs(model)
    for plan in (sum(plans, start=Plan(())), [sum(plans[:9], start=Plan(())), None, plans[20]]):
        with torch.no_grad(), attach(model, plan), prompts([len(row) for row in ROWS]):
            _decode(model, batch, passes)


def test_a_wait_in_a_hook_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="synchroniz"):
        _strict(lambda: torch.ones(2, device="cuda").sum().item())()
    torch.ones(2, device="cuda").sum().item()


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return function(*args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return run


@every_edit
def test_no_edit_waits(name: str) -> None:
    _check("llama", _edits(resid_post(1), "all")[name])


@pytest.mark.parametrize("span", SPANS)
def test_no_span_waits(span: str) -> None:
    _check("llama", _edits(resid_post(1), SPANS[span])["keep"])


@pytest.mark.parametrize("site", SITES, ids=str)
def test_no_site_waits(site: Site) -> None:
    plans = _edits(site, "all")
    _check("gemma3", plans["keep"] + plans["ablate"])


@pytest.mark.parametrize("span", ["all", "after"])
def test_a_router_does_not_wait(span: str) -> None:
    # In the last layer: how often experts wait depends on how many are chosen after an edit.
    _check("qwen3_moe", scale_experts(router(3), {0: 0.0, 1: 3.0}, span=SPANS[span]))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_rows_with_plans_of_their_own_do_not_wait(family: str) -> None:
    spans = list(SPANS.values())
    first_ = sum(
        (_edits(resid_post(1), spans[n % 8])[name] for n, name in enumerate(EDITS)),
        start=add(embed, W),
    )
    second = _edits(heads(2), "last")["ablate"] + _edits(final, "generated")["keep"]
    _check(family, [first_, None, second])


def test_strengths_of_rows_do_not_wait() -> None:
    strengths = torch.tensor([0.5, -1.0, 2.0])
    plans = _edits(resid_post(1), "all")
    _check("llama", plans["keep"].at(strengths) + plans["ablate"].at(strengths))
    _check("llama", plans["add"].at(strengths.cuda()))


@every_edit
def test_a_plan_that_is_trained_on_the_device_does_not_wait(name: str) -> None:
    model = _model("llama", "cuda")
    model.hf.requires_grad_(False)
    batch, _ = _inputs(model)
    strength = torch.tensor(0.5, device="cuda", requires_grad=True)
    plan = _edits(resid_post(1), "last", "cuda")[name].at(strength)

    def run() -> Tensor:
        loss = model.hf(**batch).logits[:, -1].square().sum()
        (grad,) = torch.autograd.grad(loss, strength)
        return grad

    with torch.no_grad():
        allowed, _ = _waits(lambda: model.hf(**batch))
    with attach(model, plan):
        first_ = run()
        waits, again = _waits(run)
    assert waits == allowed
    assert first_.abs() > 1e-3
    torch.testing.assert_close(again, first_, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("span", ["generated", "after"])
def test_generate_waits_no_more_often(span: str, cache: str) -> None:
    # Outside of `generate` the length of a static cache is a value on the device.
    model = _model("llama", "cuda")
    batch = model.batch(ROWS)
    del batch["position_ids"]
    options: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
    options |= {"cache_implementation": cache, "disable_compile": True}

    def run() -> list[list[int]]:
        tokens: list[list[int]] = model.hf.generate(**batch, **options).tolist()
        return tokens

    run()
    allowed, clean = _waits(run)
    with attach(model, _edits(resid_post(1), SPANS[span])["add"]):
        run()
        waits, steered = _waits(run)
    assert waits == allowed
    assert steered != clean
