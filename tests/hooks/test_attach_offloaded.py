"""Weights that accelerate has moved away, or torch spread, change nothing of what a plan does."""

import copy
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

import families
import tiny
from steer.hooks import (
    Model,
    add,
    attach,
    heads,
    record,
    resid_post,
)
from wrapped import PLAN, TEXTS, generated, logits, plan_at


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


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
        with attach(model, plan_at(site, "last")):
            expected, tokens = logits(plain), generated(plain)
        with attach(hf, plan_at(site, "last")):
            assert torch.equal(logits(hf), expected), site
            assert generated(hf) == tokens, site


@needs_accelerate
@every_offload
def test_an_offloaded_model_has_a_plan_for_each_row(
    offload: Callable[[PreTrainedModel, Path], Any], tmp_path: Path
) -> None:
    plain = tiny.network()
    hf = offload(copy.deepcopy(plain), tmp_path)
    plans = [PLAN, plan_at(heads(1), "generated")]
    with attach(plain, plans):
        expected = logits(plain), generated(plain)
    with attach(hf, plans):
        assert torch.equal(logits(hf), expected[0])
        assert generated(hf) == expected[1]


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
    clean, hooks, held = logits(hf), tiny.hook_count(hf), dict(hf.__dict__)
    with attach(hf, PLAN):
        assert not torch.allclose(logits(hf), clean, atol=0.1)
    assert tiny.hook_count(hf) == hooks
    assert hf.__dict__ == held
    assert torch.equal(logits(hf), clean)


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
                out = logits(given)
                out.log_softmax(-1)[:, 5].sum().backward()
            grads += [out.detach(), v.grad, hf.model.embed_tokens.weight.grad]
        for plain, parallel in zip(grads[:3], grads[3:], strict=True):
            torch.testing.assert_close(parallel, plain, rtol=1e-5, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
    assert not torch.equal(grads[0], logits(tiny.network()))
