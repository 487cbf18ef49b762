"""A compiled model runs uncompiled, steered, inside a block, and compiled again after it."""

import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import tiny
from steer.hooks import (
    Model,
    attach,
)
from wrapped import PLAN, V, generated, logits


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@cache
def _steered() -> tuple[Tensor, Tensor, list[list[int]]]:
    """Logits without and with the plan, and what is generated with it, never compiled."""
    hf = tiny.network()
    clean = logits(hf)
    with attach(hf, PLAN):
        return clean, logits(hf), generated(hf)


@pytest.fixture
def compiler() -> Iterator[Callable[..., Any]]:
    """`torch.compile` that only traces; what it compiled is forgotten afterwards."""
    torch._dynamo.reset()
    yield partial(torch.compile, backend="eager")
    torch._dynamo.reset()


def _compiled(compiler: Callable[..., Any]) -> tuple[Any, PreTrainedModel]:
    """A compiled model that has run, and the model inside."""
    hf = tiny.network()
    compiled = compiler(hf)
    assert torch.equal(logits(compiled), _steered()[0])
    return compiled, hf


def _assert_runs_compiled(call: Callable[[], object]) -> None:
    with torch.compiler.set_stance("fail_on_recompile"):
        call()


@pytest.mark.parametrize("through", ["compiled", "inside", "model of compiled", "model of inside"])
def test_a_compiled_model_is_steered_and_compiled_again(
    compiler: Callable[..., Any], through: str
) -> None:
    compiled, hf = _compiled(compiler)
    given = compiled if "compiled" in through else hf
    with attach(Model(given) if "model" in through else given, PLAN):
        assert torch.equal(logits(compiled), _steered()[1])
        assert torch.equal(logits(hf), _steered()[1])
        assert generated(hf) == _steered()[2]
    _assert_runs_compiled(lambda: logits(compiled))
    assert torch.equal(logits(compiled), _steered()[0])
    assert torch.equal(logits(hf), _steered()[0])


def _whole(hf: PreTrainedModel) -> None:
    hf.compile(backend="eager")


def _layers(hf: PreTrainedModel) -> None:
    for layer in hf.model.layers:
        layer.compile(backend="eager")


def _forward(hf: PreTrainedModel) -> None:
    hf.forward = torch.compile(hf.forward, backend="eager")


def _block(hf: PreTrainedModel) -> None:
    hf.model.layers[2].mlp.forward = torch.compile(hf.model.layers[2].mlp.forward, backend="eager")


@pytest.mark.parametrize("compile_", [_whole, _layers, _forward, _block])
def test_a_model_compiled_in_place_is_steered(
    compiler: Callable[..., Any], compile_: Callable[[PreTrainedModel], None]
) -> None:
    hf = tiny.network()
    compile_(hf)
    assert torch.equal(logits(hf), _steered()[0])
    with attach(hf, PLAN):
        assert torch.equal(logits(hf), _steered()[1])
        assert generated(hf) == _steered()[2]
    _assert_runs_compiled(lambda: logits(hf))
    assert torch.equal(logits(hf), _steered()[0])


def test_a_model_compiled_inside_a_block_keeps_nothing_of_it(compiler: Callable[..., Any]) -> None:
    hf = tiny.network()
    with attach(hf, PLAN):
        compiled = compiler(hf)
        assert torch.equal(logits(compiled), _steered()[1])
    assert torch.equal(logits(compiled), _steered()[0])


def test_other_compiled_functions_keep_working(compiler: Callable[..., Any]) -> None:
    def double(x: Tensor) -> Tensor:
        return 2 * x

    other, (compiled, _) = compiler(double), _compiled(compiler)
    assert torch.equal(other(V), 2 * V)
    with attach(compiled, PLAN):
        assert torch.equal(other(V), 2 * V)
    _assert_runs_compiled(lambda: other(V))


def test_blocks_that_cross_leave_compilation_on(compiler: Callable[..., Any]) -> None:
    # As in two threads: the block that was entered first is left first.
    (one, _), (two, _) = _compiled(compiler), _compiled(compiler)
    first, second = attach(one, PLAN), attach(two, PLAN)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.equal(logits(two), _steered()[1])
    assert torch.equal(logits(one), _steered()[0])
    second.__exit__(None, None, None)
    _assert_runs_compiled(lambda: logits(one))
    calls: list[int] = []

    def counting(graph: Any, _: Any) -> Any:
        calls.append(1)
        return graph.forward

    fresh = torch.compile(lambda x: 2 * x, backend=counting)
    assert torch.equal(fresh(V), 2 * V)
    assert calls == [1]


def test_a_thread_may_compile_while_another_steers(compiler: Callable[..., Any]) -> None:
    compiled, _ = _compiled(compiler)
    other = tiny.network(seed=1)
    expected = logits(other)
    got: list[Tensor] = []

    def run() -> None:
        with torch.no_grad():
            got.append(logits(compiler(other)))

    with attach(compiled, PLAN):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert torch.equal(logits(compiled), _steered()[1])
    assert torch.equal(got[0], expected)
