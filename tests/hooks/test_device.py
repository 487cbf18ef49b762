import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from torch import nn

import tiny
from steer.hooks import Model, final, record
from steer.hooks._device import input_device

CPU, META = torch.device("cpu"), torch.device("meta")


def test_weights_that_are_somewhere_say_it_themselves() -> None:
    embedding = nn.Embedding(4, 2)
    assert input_device(embedding) == CPU
    add_hook_to_module(embedding, AlignDevicesHook(execution_device="meta"))
    assert input_device(embedding) == META


def test_weights_that_are_nowhere_are_on_meta() -> None:
    embedding = nn.Embedding(4, 2, device="meta")
    assert input_device(embedding) == META
    embedding._hf_hook = ModelHook()
    assert input_device(embedding) == META


@pytest.mark.parametrize("more", [0, 1, 2])
def test_offloaded_weights_work_where_their_hook_brings_them(more: int) -> None:
    embedding = nn.Embedding(4, 2)
    cpu_offload(embedding, execution_device=CPU)
    for _ in range(more):  # SequentialHooks within SequentialHooks
        add_hook_to_module(embedding, ModelHook(), append=True)
    assert embedding.weight.device == META
    assert input_device(embedding) == CPU


def test_an_offloaded_model_is_read_as_any_other() -> None:
    rows = [[5, 6, 7], [8]]
    expected = record(tiny.model(), rows, final)[final]
    hf = cpu_offload(tiny.network(), execution_device=CPU)
    assert hf.model.embed_tokens.weight.device == META
    model = Model(hf)
    assert model.device == CPU
    assert torch.equal(record(model, rows, final)[final], expected)
