"""What the blocks of every family add to the residual stream, and edits of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

import families
import parts
import tiny
from steer.hooks import (
    Model,
    Site,
    SiteError,
    add,
    affine,
    attach,
    attn_out,
    capture,
    embed,
    heads,
    mlp_out,
    resid_post,
    resid_pre,
)

FAMILIES = families.FAMILIES
V = tiny.vector()
ROWS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [30, 31, 32]]
Got = dict[Site, Tensor]


def _loud(family: str) -> Model:
    """With random norm weights, so that a norm too many or few shows."""
    hf = families.network(family)
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() < 2:
                parameter.normal_(0, 0.25, generator=source)
    return Model(hf)


def _sum(got: Got, n: int) -> Tensor:
    return got[resid_pre(n)] + got[attn_out(n)] + got[mlp_out(n)]


def _granite(got: Got, n: int, _: nn.Module, __: Tensor) -> Tensor:
    """It adds half of what each block gives."""
    return got[resid_pre(n)] + 0.5 * (got[attn_out(n)] + got[mlp_out(n)])


def _t5(got: Got, n: int, _: nn.Module, cross: Tensor) -> Tensor:
    """It adds the cross attention between the two, which no site names."""
    return _sum(got, n) + cross


def _bart(got: Got, n: int, layer: nn.Module, cross: Tensor) -> Tensor:
    """It normalises every sum, and has cross attention."""
    states = layer.self_attn_layer_norm(got[resid_pre(n)] + got[attn_out(n)])
    states = layer.encoder_attn_layer_norm(states + cross)
    return layer.final_layer_norm(states + got[mlp_out(n)])


OTHERWISE: dict[str, Callable[[Got, int, nn.Module, Tensor], Tensor]] = {
    "granite": _granite,
    "t5": _t5,
    "bart": _bart,
}
CROSS = {"bart": "encoder_attn", "t5": "layer.1.EncDecAttention"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_add_up_to_the_layer(family: str) -> None:
    model = _loud(family)
    layers = [parts.part(model.hf, family, "resid_post", n) for n in range(parts.LAYERS)]
    kinds = (resid_pre, attn_out, mlp_out, resid_post)
    sites = [kind(n) for n in range(parts.LAYERS) for kind in kinds]
    inputs = parts.batch(family, ROWS, "right")
    crossing = [layer.get_submodule(CROSS[family]) for layer in layers if family in CROSS]
    with torch.no_grad(), parts.reading(crossing) as crossed:
        got = capture(model, inputs, sites)
    assert got[resid_pre(0)].shape == (*parts.real(inputs).shape, parts.D)
    for n, layer in enumerate(layers):
        cross = crossed[n][0] if family in CROSS else torch.tensor(0.0)
        rule = OTHERWISE.get(family)
        expected = rule(got, n, layer, cross) if rule else _sum(got, n)
        torch.testing.assert_close(got[resid_post(n)], expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(got[attn_out(n)], got[mlp_out(n)], atol=0.01)
        if rule:
            assert not torch.allclose(_sum(got, n), got[resid_post(n)], atol=0.01)


def _plain(module: nn.Module, kind: str, real: Tensor) -> AbstractContextManager[None]:
    change = parts.adding(V, real)
    where = parts.changing_input if kind == "heads" else parts.changing
    return where(module, change)


@pytest.mark.parametrize("kind", ["attn_out", "mlp_out", "heads", "embed", "final"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_added_vector_is_what_a_plain_hook_adds(family: str, kind: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS, "right")
    real = parts.real(inputs)
    base = parts.logits(model.hf, inputs)
    for layer in (None,) if kind in ("embed", "final") else (0, 1):
        site = Site(kind, layer)
        module = parts.part(model.hf, family, kind, layer or 0)
        if module is None:
            assert (family, kind) == ("bart", "final")
            message = "^site final: the LM head does not read what leaves LayerNorm; name the last"
            with pytest.raises(SiteError, match=message), attach(model, add(site, V)):
                raise AssertionError("entered")
            continue
        with _plain(module, kind, real):
            expected = parts.logits(model.hf, inputs)
        with attach(model, add(site, V)):
            assert torch.equal(parts.logits(model.hf, inputs), expected)
        assert not torch.allclose(expected, base, atol=0.02)


def _zero_columns(projection: nn.Module, columns: slice) -> None:
    weight = projection.weight.data
    if type(projection).__name__ == "Conv1D":  # GPT-2 keeps it transposed
        weight[columns] = 0
    else:
        weight[:, columns] = 0


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_head_its_columns_of_the_projection_do_nothing(family: str) -> None:
    model, head, layer = Model(families.network(family)), 2, 1
    columns = slice(head * parts.HEAD_DIM, (head + 1) * parts.HEAD_DIM)
    inputs = parts.batch(family, ROWS, "right")
    real = parts.real(inputs)
    base = parts.logits(model.hf, inputs)
    read = torch.eye(parts.D)[columns]
    with attach(model, affine(heads(layer), read, -read)):
        got = parts.logits(model.hf, inputs)
    module = parts.part(model.hf, family, "heads", layer)
    assert module is not None
    _zero_columns(module, columns)
    expected = parts.logits(model.hf, inputs)
    torch.testing.assert_close(got[real], expected[real], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(got[real], base[real], atol=0.02)


WIDE: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**tiny._COMMON | {"head_dim": 16})),
    "deepseek_v3": lambda: DeepseekV3ForCausalLM(
        DeepseekV3Config(**families._FULL, **families._DEEPSEEK | {"v_head_dim": 16})
    ),
}


@pytest.mark.parametrize("family", WIDE)
def test_heads_may_be_wider_than_the_stream(family: str) -> None:
    model = Model(WIDE[family]().eval())
    assert model.width(heads(1)) == 64 != model.d_model
    vector = torch.ones(4 * 16)
    with attach(model, add(heads(1), vector)):
        got = capture(model, parts.batch(family, ROWS), [heads(0), heads(1)])
    plain = capture(model, parts.batch(family, ROWS), [heads(1)])
    real = parts.real(parts.batch(family, ROWS))
    assert torch.equal(got[heads(1)][real], plain[heads(1)][real] + 1)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_the_embedding_of_a_decoder_after_an_encoder_is_its_own(family: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, [[5, 6, 7]])
    got = capture(model, inputs, [embed])[embed]
    assert torch.equal(got[0], model.hf.get_decoder().embed_tokens.weight[[5, 6, 7]])
