from contextlib import suppress
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PreTrainedModel,
)

import onerow
import tiny
from steer.hooks import DataError, Model, ModelError, as_model


def test_rows_are_padded_by_hand(model: Model) -> None:
    left = model.batch([[5, 6, 7], [8]])
    assert {name: tensor.tolist() for name, tensor in left.items()} == {
        "input_ids": [[5, 6, 7], [0, 0, 8]],
        "attention_mask": [[1, 1, 1], [0, 0, 1]],
        "position_ids": [[0, 1, 2], [0, 0, 0]],
    }
    right = model.batch([[5, 6, 7], [8]], pad="right")
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert right["position_ids"][0].tolist() == [0, 1, 2]
    assert right["position_ids"][1, 0] == 0


@pytest.mark.parametrize("rows", [[], [[]], [[5], []]])
def test_an_empty_row_is_refused(model: Model, rows: list[list[int]]) -> None:
    with pytest.raises(DataError, match=r"^batch: expected rows of at least one token each, got"):
        model.batch(rows)


def test_an_unknown_side_is_refused(model: Model) -> None:
    message = "^batch: unknown side 'Left' to pad; expected left or right$"
    with pytest.raises(DataError, match=message):
        model.batch([[5]], pad="Left")


def test_a_text_becomes_its_words(model: Model) -> None:
    # WORDS begin at 4: Q: A: What Who Where Is Are the a an sky
    assert model.token_ids("Q: What Is the sky nonsense") == [4, 6, 9, 11, 14, 3]


def test_a_text_starts_once() -> None:
    words = tiny.tokenizer()
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    model = Model(tiny.network(), words)
    assert model.token_ids("the sky") == [1, 11, 14]
    assert model.token_ids("the sky", start=False) == [11, 14]
    assert model.token_ids("<s> the sky") == [1, 11, 14]


def test_a_chat_ends_where_the_answer_begins(model: Model) -> None:
    model.tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert model.chat("sky ?") == "[user]sky ?[assistant]"
    assert model.chat("sky ?", system="yes") == "[system]yes[user]sky ?[assistant]"


def test_a_chat_needs_a_template(model: Model) -> None:
    message = "^tiny-llama: the tokenizer has no chat template; use plain prompts$"
    with pytest.raises(DataError, match=message):
        model.chat("sky ?")


def test_text_is_continued_greedily(any_model: Model) -> None:
    prompts = ["What Is the sky ?", "Who ?"]
    expected = []
    for prompt in prompts:
        ids = any_model.token_ids(prompt)
        for _ in range(4):
            logits = any_model.hf(torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
        new = ids[len(any_model.token_ids(prompt)) :]
        new = new[: new.index(2)] if 2 in new else new
        expected.append(any_model.tokenizer.decode(new, skip_special_tokens=True))
    assert any_model.generate_text(prompts, max_new_tokens=4) == expected
    assert any_model.generate_text(prompts[1], max_new_tokens=4) == expected[1]


def test_several_continuations_are_a_list(model: Model) -> None:
    options: dict[str, Any] = {"max_new_tokens": 2, "num_beams": 2, "num_return_sequences": 2}
    assert len(model.generate_text("sky", **options)) == 2
    assert len(model.generate_text(["sky", "sun"], **options)) == 4


def test_frozen_turns_off_and_restores() -> None:
    model = tiny.model()
    hf = model.hf
    hf.train()
    hf.model.layers[1].eval()
    hf.lm_head.weight.requires_grad_(False)
    modes = [module.training for module in hf.modules()]
    wanted = [p.requires_grad for p in hf.parameters()]
    with suppress(KeyError), model.frozen():
        assert not any(module.training for module in hf.modules())
        assert not any(p.requires_grad for p in hf.parameters())
        raise KeyError
    assert [module.training for module in hf.modules()] == modes
    assert [p.requires_grad for p in hf.parameters()] == wanted


def test_a_model_says_what_it_is(model: Model) -> None:
    assert repr(model) == (
        "Model('tiny-llama', LlamaForCausalLM, layers=4, d_model=32, dtype=float32, device='cpu')"
    )
    assert (model.n_layers, model.d_model) == (4, 32)


def test_any_token_fills_up(model: Model) -> None:
    assert model.pad_id == 0
    model.tokenizer.pad_token = "fire"
    assert model.pad_id == model.token_ids("fire")[0]
    model.tokenizer.pad_token = None
    assert model.pad_id == 2  # the end of a text
    model.tokenizer.eos_token = None
    assert model.pad_id == Model(model.hf).pad_id == 0


def test_a_wrapper_is_made_once(model: Model) -> None:
    assert as_model(model) is model
    assert as_model(model.hf).hf is model.hf


def test_a_missing_tokenizer_is_named() -> None:
    message = "^LlamaForCausalLM: no tokenizer; wrap the model as Model"
    with pytest.raises(ModelError, match=message):
        Model(tiny.network()).generate_text("sky")


def test_another_module_is_refused() -> None:
    message = "^Model: expected a transformers PreTrainedModel, got Linear; steer.load"
    with onerow.unchecked(), pytest.raises(ModelError, match=message):
        Model(torch.nn.Linear(2, 2))  # type: ignore[arg-type]


def _scaled(family: str) -> PreTrainedModel:
    common = {
        "vocab_size": 60,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if family == "cohere":
        return CohereForCausalLM(CohereConfig(**common, logit_scale=0.25)).eval()
    if family == "granite":
        return GraniteForCausalLM(GraniteConfig(**common, logits_scaling=4.0)).eval()
    # The random weights are small, so only a small cap bends the logits.
    return Gemma2ForCausalLM(Gemma2Config(**common, final_logit_softcapping=0.05)).eval()


@pytest.mark.parametrize("family", ["cohere", "granite", "gemma2"])
def test_logits_are_the_model_s_own(family: str) -> None:
    hf = _scaled(family)
    states: list[torch.Tensor] = []
    hf.get_output_embeddings().register_forward_pre_hook(lambda _, args: states.append(args[0]))
    logits = hf(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    torch.testing.assert_close(Model(hf).logits(states[0]), logits)


def test_logits_that_are_more_than_the_head_are_refused(model: Model) -> None:
    model.hf.register_forward_hook(lambda _, __, out: setattr(out, "logits", 0.25 * out.logits))
    with pytest.raises(ModelError, match="the logits of LlamaForCausalLM are not its LM head's"):
        model.logits(torch.zeros(2, tiny.D_MODEL))
