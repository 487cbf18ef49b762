"""However a block ends, nothing of it is left."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
from steer.hooks import (
    DataError,
    Model,
    Plan,
    ablate,
    add,
    attach,
    attn_out,
    capture,
    embed,
    final,
    mlp_out,
    prompts,
    record,
    resid_post,
    resid_pre,
)

V = tiny.vector()
PLAN: Plan = (
    add(resid_pre(0), V)
    + ablate(resid_post(1), V)
    + add(attn_out(2), V, keep_norm=True)
    + add(mlp_out(2), V, span="last")
    + add(embed, V)
    + add(final, V, span="generated")
)
IDS = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]])
MASK = (IDS != 0).long()
GREEDY: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}


def _outputs(model: Model) -> list[Tensor]:
    with torch.no_grad():
        logits = model.hf(input_ids=IDS, attention_mask=MASK).logits
    return [logits, model.hf.generate(IDS, attention_mask=MASK, **GREEDY)]


def _assert_untouched(model: Model, before: list[Tensor]) -> None:
    assert tiny.hook_count(model.hf) == 0
    assert "generate" not in model.hf.__dict__
    assert model.hf.generate.__func__ is type(model.hf).generate
    for a, b in zip(_outputs(model), before, strict=True):
        assert torch.equal(a, b)


def test_a_block_that_ends_leaves_nothing(any_model: Model) -> None:
    before = _outputs(any_model)
    with attach(any_model, PLAN):
        assert tiny.hook_count(any_model.hf) > 0
        assert not torch.equal(_outputs(any_model)[0], before[0])
    _assert_untouched(any_model, before)


def _use_and_raise(model: Model, error: BaseException) -> None:
    model.hf(IDS)
    raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_a_block_that_breaks_leaves_nothing(model: Model, error: BaseException) -> None:
    before = _outputs(model)
    with pytest.raises(type(error), match=r"^stop$"), attach(model, PLAN):
        _use_and_raise(model, error)
    _assert_untouched(model, before)


def _fail_inside(module: nn.Module, error: BaseException) -> Any:
    def fail(*_: Any) -> None:
        raise error

    return module.register_forward_hook(fail)


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
@pytest.mark.parametrize("run", ["forward", "generate"])
def test_a_pass_that_breaks_leaves_nothing(model: Model, error: BaseException, run: str) -> None:
    before = _outputs(model)
    handle = _fail_inside(model.hf.model.layers[2], error)
    with pytest.raises(type(error), match=r"^stop$"), attach(model, PLAN):
        model.hf(IDS) if run == "forward" else model.hf.generate(IDS, **GREEDY)
    handle.remove()
    _assert_untouched(model, before)


def test_a_broken_pass_does_not_harm_the_next(model: Model) -> None:
    with attach(model, PLAN):
        expected = _outputs(model)
        for module in (model.hf.model.embed_tokens, model.hf.model.layers[0], model.hf.model.norm):
            handle = _fail_inside(module, RuntimeError("stop"))
            with pytest.raises(RuntimeError, match=r"^stop$"):
                model.hf.generate(IDS, attention_mask=MASK, **GREEDY)
            handle.remove()
            for a, b in zip(_outputs(model), expected, strict=True):
                assert torch.equal(a, b)


def test_a_broken_pass_does_not_edit_a_users_embeddings(model: Model) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    table = model.hf.model.embed_tokens
    with attach(model, PLAN):
        handle = table.register_forward_pre_hook(fail)  # inside the decoder, before it has embedded
        with pytest.raises(RuntimeError, match=r"^stop$"):
            model.hf(IDS)
        handle.remove()
        assert torch.equal(table(IDS), table.weight[IDS])


# Where registration fails, and on which call there.
BREAKS: dict[str, Callable[[Model], tuple[nn.Module, str, int]]] = {
    "decoder": lambda m: (m.hf.model, "register_forward_pre_hook", 0),
    "first layer": lambda m: (m.hf.model.layers[0], "register_forward_pre_hook", 0),
    "later layer": lambda m: (m.hf.model.layers[1], "register_forward_hook", 0),
    "block": lambda m: (m.hf.model.layers[2].mlp, "register_forward_hook", 0),
    "embed entered": lambda m: (m.hf.model, "register_forward_pre_hook", 1),
    "embed left": lambda m: (m.hf.model, "register_forward_hook", 0),
    "embedding": lambda m: (m.hf.model.embed_tokens, "register_forward_hook", 0),
    "norm": lambda m: (m.hf.model.norm, "register_forward_hook", 0),
}


@pytest.mark.parametrize("where", BREAKS)
@pytest.mark.parametrize("error", [RuntimeError("full"), KeyboardInterrupt("full")])
def test_a_registration_that_fails_half_way_leaves_nothing(
    model: Model, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    before = _outputs(model)
    module, name, allowed = BREAKS[where](model)
    register, calls = getattr(module, name), []

    def fail(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) > allowed:
            raise error
        return register(*args, **kwargs)

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(type(error), match=r"^full$"), attach(model, PLAN):
        raise AssertionError("entered")
    monkeypatch.undo()
    assert len(calls) == allowed + 1
    _assert_untouched(model, before)


def test_reading_that_fails_half_way_leaves_nothing(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _outputs(model)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("full")

    monkeypatch.setattr(model.hf.model.norm, "register_forward_hook", fail)
    sites = [embed, resid_pre(1), resid_post(2), final]
    with pytest.raises(RuntimeError, match=r"^full$"):
        capture(model, {"input_ids": IDS}, sites)
    with pytest.raises(RuntimeError, match=r"^full$"):
        record(model, IDS.tolist(), sites)
    monkeypatch.undo()
    _assert_untouched(model, before)


def test_a_refused_pass_leaves_nothing(model: Model) -> None:
    before = _outputs(model)
    with attach(model, PLAN), prompts([1, 1, 1]), pytest.raises(DataError, match="do not divide"):
        model.hf(IDS)
    _assert_untouched(model, before)


def test_a_users_own_generate_is_given_back(model: Model) -> None:
    def mine(*_: Any, **__: Any) -> str:
        return "mine"

    model.hf.generate = mine
    with attach(model, PLAN), attach(model, PLAN):
        assert model.hf.generate(IDS) == "mine"
    assert model.hf.generate is mine


def test_inner_blocks_leave_the_outer_one(model: Model) -> None:
    before = _outputs(model)
    with attach(model, PLAN):
        outer, hooks = _outputs(model), tiny.hook_count(model.hf)
        with suppress(KeyError), attach(model, 2.0 * PLAN):
            assert not torch.equal(_outputs(model)[0], outer[0])
            raise KeyError
        assert tiny.hook_count(model.hf) == hooks
        for a, b in zip(_outputs(model), outer, strict=True):
            assert torch.equal(a, b)
    _assert_untouched(model, before)
