"""What torch, peft and accelerate wrap around a model changes nothing of what a plan does."""

import copy
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
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
    Plan,
    Site,
    ablate,
    add,
    attach,
    heads,
    mlp_out,
    record,
    resid_post,
    resid_pre,
    scale_experts,
)

IDS = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 11, 12]])
MASK = (IDS != 0).long()
REAL = MASK.bool()
GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
TEXTS = ["the sky is", "What is the big old sea ?"]
V = tiny.vector()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _plan(site: Site, span: str = "all") -> Plan:
    if site.kind == "router":
        return scale_experts(site, {0: 0.0, 1: 3.0, 2: 0.5}, span=span)
    v, w = tiny.vector(3), tiny.vector(8)
    return add(site, v, strength=4.0, span=span, keep_norm=True) + ablate(site, w, span=span)


PLAN = _plan(resid_post(1)) + _plan(mlp_out(2), "last") + _plan(resid_pre(3), "generated")


def _logits(model: Any) -> Tensor:
    out: Tensor = model(input_ids=IDS, attention_mask=MASK).logits[REAL]
    return out


def _generated(hf: Any) -> list[list[int]]:
    out: list[list[int]] = hf.generate(input_ids=IDS, attention_mask=MASK, **GREEDY).tolist()
    return out


# torch.compile


@cache
def _steered() -> tuple[Tensor, Tensor, list[list[int]]]:
    """Logits without and with the plan, and what is generated with it, never compiled."""
    hf = tiny.network()
    clean = _logits(hf)
    with attach(hf, PLAN):
        return clean, _logits(hf), _generated(hf)


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
    assert torch.equal(_logits(compiled), _steered()[0])
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
        assert torch.equal(_logits(compiled), _steered()[1])
        assert torch.equal(_logits(hf), _steered()[1])
        assert _generated(hf) == _steered()[2]
    _assert_runs_compiled(lambda: _logits(compiled))
    assert torch.equal(_logits(compiled), _steered()[0])
    assert torch.equal(_logits(hf), _steered()[0])


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
    assert torch.equal(_logits(hf), _steered()[0])
    with attach(hf, PLAN):
        assert torch.equal(_logits(hf), _steered()[1])
        assert _generated(hf) == _steered()[2]
    _assert_runs_compiled(lambda: _logits(hf))
    assert torch.equal(_logits(hf), _steered()[0])


def test_a_model_compiled_inside_a_block_keeps_nothing_of_it(compiler: Callable[..., Any]) -> None:
    hf = tiny.network()
    with attach(hf, PLAN):
        compiled = compiler(hf)
        assert torch.equal(_logits(compiled), _steered()[1])
    assert torch.equal(_logits(compiled), _steered()[0])


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
    assert torch.equal(_logits(two), _steered()[1])
    assert torch.equal(_logits(one), _steered()[0])
    second.__exit__(None, None, None)
    _assert_runs_compiled(lambda: _logits(one))
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
    expected = _logits(other)
    got: list[Tensor] = []

    def run() -> None:
        with torch.no_grad():
            got.append(_logits(compiler(other)))

    with attach(compiled, PLAN):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert torch.equal(_logits(compiled), _steered()[1])
    assert torch.equal(got[0], expected)


# peft


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
    assert not torch.allclose(_logits(plain), _logits(tiny.network()), atol=0.1)
    sites = [s for s in Model(plain).anatomy.sites() if s.layer in (None, 1)]
    assert list(Model(peft).anatomy.sites()) == list(Model(plain).anatomy.sites())
    for site in sites:
        with attach(plain, _plan(site)):
            expected, tokens = _logits(plain), _generated(plain)
        for given in (peft, peft.base_model, peft.base_model.model):
            with attach(given, _plan(site)):
                torch.testing.assert_close(_logits(peft), expected, rtol=0, atol=1e-4)
                assert _generated(peft) == tokens


@needs_peft
def test_a_lora_that_is_off_leaves_the_base_steered() -> None:
    peft, plain = _with_lora(), tiny.network()
    plan = _plan(heads(1))
    with attach(plain, plan):
        expected = _logits(plain)
    with attach(peft, plan), peft.disable_adapter():
        assert torch.equal(_logits(peft), expected)


@needs_peft
def test_a_merged_lora_stays_steered() -> None:
    peft, plain = _with_lora(), _with_the_sum()
    with attach(plain, _plan(heads(1))):
        expected = _logits(plain)
    with attach(peft, _plan(heads(1))):
        peft.merge_adapter()
        torch.testing.assert_close(_logits(peft), expected, rtol=0, atol=1e-4)
    merged = _with_lora().merge_and_unload()
    with attach(merged, _plan(heads(1))):
        torch.testing.assert_close(_logits(merged), expected, rtol=0, atol=1e-4)


@needs_peft
def test_a_steered_lora_gets_the_gradient_of_the_plain_factors() -> None:
    peft, plain = _with_lora(), _with_the_sum()
    weight = plain.model.layers[2].self_attn.o_proj.weight
    factors = peft.base_model.model.model.layers[2].self_attn.o_proj
    with torch.enable_grad():
        for model, given in ((plain, plain), (peft, peft)):
            with attach(given, _plan(resid_post(1)) + _plan(heads(2))):
                _logits(model).log_softmax(-1)[:, 5].sum().backward()
    expected = 8 / 4 * weight.grad @ _lora_weights()["2.A"].T  # the chain rule, by hand
    got = factors.lora_B["default"].weight.grad
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


# accelerate


def _dispatched(hf: PreTrainedModel, folder: Path, embedding: str = "cpu") -> Any:
    from accelerate import dispatch_model

    where: dict[str, Any] = {"model.embed_tokens": embedding}
    where |= {"model.rotary_emb": "cpu", "model.norm": "disk", "lm_head": "cpu"}
    where |= {f"model.layers.{n}": ("cpu", "disk")[n % 2] for n in range(tiny.N_LAYERS)}
    return dispatch_model(hf, where, main_device="cpu", offload_dir=folder)


def _embedding_on_disk(hf: PreTrainedModel, folder: Path) -> Any:
    return _dispatched(hf, folder, "disk")


def _in_memory(hf: PreTrainedModel, folder: Path) -> Any:
    from accelerate import cpu_offload

    return cpu_offload(hf, execution_device=torch.device("cpu"))


def _on_disk(hf: PreTrainedModel, folder: Path) -> Any:
    from accelerate import disk_offload

    return disk_offload(hf, folder, execution_device=torch.device("cpu"))


OFFLOADS = [_dispatched, _embedding_on_disk, _in_memory, _on_disk]
every_offload = pytest.mark.parametrize("offload", OFFLOADS)
needs_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="accelerate is not installed"
)


@needs_accelerate
@every_offload
@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
def test_an_offloaded_model_is_steered_at_every_site(
    family: str, offload: Callable[[PreTrainedModel, Path], Any], tmp_path: Path
) -> None:
    plain = families.network(family)
    hf = offload(copy.deepcopy(plain), tmp_path)
    assert "meta" in {p.device.type for p in hf.parameters()}
    model = Model(plain)
    sites = [site for site in model.anatomy.sites() if site.layer in (None, 1)]
    for site in sites:
        with attach(model, _plan(site, "last")):
            expected, tokens = _logits(plain), _generated(plain)
        with attach(hf, _plan(site, "last")):
            assert torch.equal(_logits(hf), expected), site
            assert _generated(hf) == tokens, site


@needs_accelerate
@every_offload
def test_an_offloaded_model_has_a_plan_for_each_row(
    offload: Callable[[PreTrainedModel, Path], Any], tmp_path: Path
) -> None:
    plain = tiny.network()
    hf = offload(copy.deepcopy(plain), tmp_path)
    plans = [PLAN, _plan(heads(1), "generated")]
    with attach(plain, plans):
        expected = _logits(plain), _generated(plain)
    with attach(hf, plans):
        assert torch.equal(_logits(hf), expected[0])
        assert _generated(hf) == expected[1]


@needs_accelerate
@every_offload
def test_an_offloaded_model_is_checked_and_takes_text(
    offload: Callable[[PreTrainedModel, Path], Any], tmp_path: Path
) -> None:
    plain = Model(tiny.network(), tiny.tokenizer())
    model = Model(offload(copy.deepcopy(plain.hf), tmp_path), tiny.tokenizer())
    assert model.findings.unchecked is None
    assert model.findings.widths == plain.findings.widths
    assert model.device == torch.device("cpu")
    sites = [site for site in plain.anatomy.sites() if site.layer in (None, 1, 2)]
    with attach(plain, PLAN):
        expected = plain.generate_text(TEXTS, 4), record(plain, TEXTS, sites)
    with attach(model, PLAN):
        assert model.generate_text(TEXTS, 4) == expected[0]
        for site, states in record(model, TEXTS, sites).items():
            assert torch.equal(states, expected[1][site])


@needs_accelerate
@every_offload
def test_a_block_leaves_the_hooks_of_accelerate(
    offload: Callable[[PreTrainedModel, Path], Any], tmp_path: Path
) -> None:
    hf = offload(tiny.network(), tmp_path)
    clean, hooks, held = _logits(hf), tiny.hook_count(hf), dict(hf.__dict__)
    with attach(hf, PLAN):
        assert not torch.allclose(_logits(hf), clean, atol=0.1)
    assert tiny.hook_count(hf) == hooks
    assert hf.__dict__ == held
    assert torch.equal(_logits(hf), clean)


# DistributedDataParallel


def test_a_data_parallel_model_is_steered(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("torch is built without torch.distributed")
    from torch.nn.parallel import DistributedDataParallel

    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        grads = []
        for wrap in (lambda hf: hf, DistributedDataParallel):
            hf = tiny.network()
            given = wrap(hf)
            v = tiny.vector(3).requires_grad_()
            with torch.enable_grad(), attach(given, add(resid_post(1), v)):
                logits = _logits(given)
                logits.log_softmax(-1)[:, 5].sum().backward()
            grads += [logits.detach(), v.grad, hf.model.embed_tokens.weight.grad]
        for plain, parallel in zip(grads[:3], grads[3:], strict=True):
            torch.testing.assert_close(parallel, plain, rtol=1e-5, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
    assert not torch.equal(grads[0], _steered()[0])
