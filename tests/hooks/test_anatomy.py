import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    Glm4Config,
    Glm4ForCausalLM,
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaModel,
    MixtralConfig,
    MixtralForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
)

import tiny
from steer.hooks import (
    Anatomy,
    Model,
    ModelError,
    Site,
    SiteError,
    add,
    attach,
    attn_out,
    capture,
    embed,
    final,
    mlp_out,
    resid_post,
    resid_pre,
)

ROWS = [[5, 6, 7, 8, 9], [10, 11, 12]]
N = tiny.N_LAYERS
SMALL = tiny._COMMON


def _built(build: Callable[[], PreTrainedModel]) -> Model:
    torch.manual_seed(0)
    hf = build().eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.normal_(0, 0.25)  # norm weights too, so that a norm too few or many shows
    return Model(hf, tiny.tokenizer())


OTHERS: dict[str, Callable[[], PreTrainedModel]] = {
    "glm4": lambda: Glm4ForCausalLM(Glm4Config(**SMALL)),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**SMALL)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=4)),
    "phi": lambda: PhiForCausalLM(PhiConfig(**SMALL)),
}
FAMILIES = [*tiny.FAMILIES, *OTHERS]


def _model(family: str) -> Model:
    return _built(OTHERS[family]) if family in OTHERS else tiny.model(family)


def _sites(*kinds: Callable[[int], Site]) -> list[Site]:
    return [kind(layer) for kind in kinds for layer in range(N)]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_add_up_to_the_residual_stream(family: str) -> None:
    model = _model(family)
    got = capture(model, model.batch(ROWS), _sites(resid_pre, attn_out, mlp_out, resid_post))
    for layer in range(N):
        total = got[resid_pre(layer)] + got[attn_out(layer)] + got[mlp_out(layer)]
        torch.testing.assert_close(got[resid_post(layer)], total, rtol=1e-4, atol=1e-4)
        assert not torch.equal(got[attn_out(layer)], got[mlp_out(layer)])
        if layer:
            assert torch.equal(got[resid_pre(layer)], got[resid_post(layer - 1)])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_residual_stream_is_that_of_transformers(family: str) -> None:
    model = _model(family)
    batch = model.batch(ROWS)
    states = model.hf(**batch, output_hidden_states=True).hidden_states
    last = model.hf.base_model(**batch).last_hidden_state
    got = capture(model, batch, [*_sites(resid_pre, resid_post), final])
    for layer in range(N):
        assert torch.equal(got[resid_pre(layer)], states[layer])
        if layer < N - 1:
            assert torch.equal(got[resid_post(layer)], states[layer + 1])
    assert torch.equal(got[final], last)
    torch.testing.assert_close(model.logits(last), model.hf(**batch).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_embed_is_what_the_first_layer_receives(family: str) -> None:
    model = _model(family)
    batch = model.batch(ROWS)
    got = capture(model, batch, [embed, resid_pre(0)])
    table = model.hf.get_input_embeddings().weight
    scale = {"gemma3": tiny.D_MODEL**0.5}.get(family, 1.0)
    torch.testing.assert_close(got[embed], scale * table[batch["input_ids"]])
    # GPT-2 adds its positions after the token embedding.
    places = model.hf.transformer.wpe.weight[batch["position_ids"]] if family == "gpt2" else 0
    assert torch.equal(got[resid_pre(0)], got[embed] + places)


@pytest.mark.parametrize("site", [embed, resid_pre(0)])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_given_embeddings_are_edited_like_embedded_ones(family: str, site: Site) -> None:
    model = tiny.model(family)
    batch = model.batch(ROWS)
    plan = add(site, tiny.vector())
    given = dict(batch, inputs_embeds=model.hf.get_input_embeddings()(batch["input_ids"]))
    del given["input_ids"]
    before = given["inputs_embeds"].clone()
    with attach(model, plan):
        steered = model.hf(**batch).logits
        assert torch.equal(model.hf(**given).logits, steered)
    assert torch.equal(given["inputs_embeds"], before)
    assert not torch.equal(model.hf(**batch).logits, steered)


@pytest.mark.parametrize("embedded", [False, True])
def test_token_types_are_no_input_embedding(embedded: bool) -> None:
    model = tiny.model("gpt2")
    inputs = {"token_type_ids": torch.tensor([[7, 7]]), "input_ids": torch.tensor([[5, 6]])}
    if embedded:
        inputs["inputs_embeds"] = model.hf.transformer.wte(inputs.pop("input_ids"))
    base = model.hf(**inputs, output_hidden_states=True).hidden_states[0]
    with attach(model, add(embed, tiny.vector())):
        steered = model.hf(**inputs, output_hidden_states=True).hidden_states[0]
    torch.testing.assert_close(steered, base + tiny.vector())


@pytest.mark.parametrize("site", [resid_pre(4), resid_post(17), attn_out(4), mlp_out(4)])
def test_a_layer_out_of_range_is_refused(any_model: Model, site: Site) -> None:
    message = f"^site {re.escape(str(site))}: the model has 4 layers, numbered 0 to 3$"
    with pytest.raises(SiteError, match=message):
        any_model.anatomy.check(site)


def test_a_feed_forward_without_a_module_of_its_own_is_its_last_projection() -> None:
    opt = OPTConfig(**SMALL, ffn_dim=48, word_embed_proj_dim=32)
    model = _built(lambda: OPTForCausalLM(opt))
    assert model.anatomy.module(mlp_out(1)) is model.hf.model.decoder.layers[1].fc2


def test_a_layer_without_such_a_block_is_refused() -> None:
    hf = tiny.network()
    hf.model.layers[1].mlp = nn.Identity()
    model = Model(hf, tiny.tokenizer())
    message = (
        "^site mlp_out.1: looked in LlamaDecoderLayer for such a block, found "
        r"self_attn \(LlamaAttention\), mlp \(Identity\), .*"
        r'; name it with places={"mlp_out": ...}$'
    )
    with pytest.raises(SiteError, match=message), attach(model, add(mlp_out(1), tiny.vector())):
        raise AssertionError("entered")
    model.check(mlp_out(0))


@pytest.mark.parametrize(
    "build",
    [
        lambda: LlamaModel(LlamaConfig(**SMALL)),
        lambda: LlamaForSequenceClassification(LlamaConfig(**SMALL)),
    ],
)
def test_a_model_without_an_lm_head_is_steered(build: Callable[[], PreTrainedModel]) -> None:
    model = _built(build)
    batch = model.batch(ROWS)
    first = capture(model, batch, [resid_post(3)])[resid_post(3)]
    with attach(model, add(resid_post(3), tiny.vector(), span="last")):
        steered = capture(model, batch, [resid_post(3)])[resid_post(3)]
    expected = first.clone()
    expected[:, -1] += tiny.vector()
    assert torch.equal(steered, expected)


def test_an_encoder_that_is_given_states_is_refused() -> None:
    sizes = {k: SMALL[k] for k in ("vocab_size", "hidden_size", "num_attention_heads")}
    config = BertConfig(**sizes, intermediate_size=48, num_hidden_layers=2)
    with pytest.raises(ModelError, match=r"^BertLMHeadModel: .*BertEncoder"):
        Model(BertLMHeadModel(config))  # nobody tells BertEncoder which tokens it works on


def test_a_decoder_without_a_norm_has_a_final_site_only_by_hand() -> None:
    hf = tiny.network()
    hf.model.norm = nn.Identity()
    message = (
        "^site final: looked for a norm after the layers in LlamaModel, found only "
        r'.*norm \(Identity\).*; name it with places={"final": ...}$'
    )
    model = Model(hf)
    model.check(resid_post(3))
    with pytest.raises(SiteError, match=message), attach(model, add(final, tiny.vector())):
        raise AssertionError("entered")
    named = Model(hf, places={"final": "model.norm"})
    got = capture(named, model.batch(ROWS), [final, resid_post(3)])
    assert torch.equal(got[final], got[resid_post(3)])


def _gemma4() -> PreTrainedModel:
    return Gemma4ForCausalLM(Gemma4TextConfig(**SMALL))


def test_the_norm_after_the_layers_is_not_any_last_norm_of_the_decoder() -> None:
    model = _built(_gemma4)  # per_layer_projection_norm stands behind norm
    model.check(final)
    assert model.anatomy.module(final) is model.hf.model.norm


def test_a_norm_that_runs_before_the_layers_too_is_no_final_site() -> None:
    model = _built(lambda: NanoChatForCausalLM(NanoChatConfig(**SMALL)))
    ran: list[int] = []
    handle = model.hf.model.norm.register_forward_hook(lambda *_: ran.append(1))
    model.hf(**model.batch(ROWS))
    handle.remove()
    assert len(ran) == 2
    with pytest.raises(SiteError, match="^site final: "):
        model.check(final)


def _short() -> PreTrainedModel:
    short = tiny.network()
    short.model.layers = short.model.layers[:2]
    return short


def _unlike() -> PreTrainedModel:
    bloom = BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4))
    bloom.transformer.h = nn.ModuleList([*bloom.transformer.h[:1], nn.Identity()])
    return bloom


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_short, "LlamaForCausalLM: looked for a ModuleList of 4 decoder layers in LlamaModel"),
        (_unlike, "BloomForCausalLM: looked for a ModuleList of 2 decoder layers in BloomModel"),
    ],
)
def test_an_unknown_architecture_is_refused(
    build: Callable[[], PreTrainedModel], message: str
) -> None:
    how = ', found none; name it with places={"layers": "path.to.the.layers"}'
    with pytest.raises(ModelError, match=f"^{re.escape(message + how)}$"):
        Anatomy.of(build())


def test_layers_named_by_hand_may_be_fewer_than_the_configuration_says() -> None:
    model = Model(_short(), places={"layers": "model.layers"})
    assert model.n_layers == 2
    model.check(resid_post(1))
    with pytest.raises(SiteError, match="the model has 2 layers"):
        model.check(resid_post(2))


def test_gradients_of_a_capture_reach_the_embeddings(model: Model) -> None:
    embeds = torch.randn(1, 3, tiny.D_MODEL, generator=torch.Generator().manual_seed(0))
    embeds.requires_grad_()
    state: Tensor = capture(model, {"inputs_embeds": embeds}, [resid_post(2)])[resid_post(2)]
    state[0, -1].sum().backward()
    assert embeds.grad is not None
    assert (embeds.grad.abs().sum(-1) > 0).all()
