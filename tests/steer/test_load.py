import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

import steer
import tiny
from steer import _load
from steer._zoo import pull
from steer.hooks import DownloadError, ModelError
from toy_zoo import Index

IDS = torch.tensor([[1, 7, 9, 11, 30, 8]])
KNOWN = (
    r"; expected a name of the zoo \(smollm2, gemma3-270m\), a folder with config.json, "
    r"a .gguf file or a hub id$"
)
cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason="says what a CPU does by default")


@torch.no_grad()
def _logits(hf: torch.nn.Module) -> torch.Tensor:
    return hf(IDS).logits


def test_a_folder_round_trips(saved: Path) -> None:
    model = steer.load(saved, device="cpu")
    assert torch.equal(_logits(model.hf), _logits(tiny.network()))
    assert not model.hf.training
    assert model.name == str(saved)
    text = "Who is the cat ?"
    assert model.token_ids(text) == tiny.tokenizer()(text)["input_ids"]
    assert (model.n_layers, model.d_model) == (4, 32)


@pytest.mark.parametrize("family", ["gemma3", "gpt2", "qwen3_moe"])
def test_other_families_round_trip(family: str, tmp_path: Path) -> None:
    tiny.network(family).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = steer.load(str(tmp_path), device="cpu")
    assert torch.equal(_logits(model.hf), _logits(tiny.network(family)))


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_another_dtype(saved: Path, dtype: str | torch.dtype) -> None:
    model = steer.load(saved, device="cpu", dtype=dtype)
    assert (model.dtype, model.device) == (torch.bfloat16, torch.device("cpu"))
    assert {p.dtype for p in model.hf.parameters()} == {torch.bfloat16}
    rounded = tiny.network()
    for parameter in rounded.parameters():
        parameter.data = parameter.data.bfloat16()
    assert torch.equal(_logits(model.hf), _logits(rounded))


@cpu_only
def test_by_default_a_cpu_computes_in_float32(tmp_path: Path) -> None:
    tiny.network().to(torch.bfloat16).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = steer.load(tmp_path)
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))


@pytest.mark.gpu
def test_by_default_a_gpu_keeps_the_dtype_of_the_checkpoint(tmp_path: Path) -> None:
    tiny.network().to(torch.bfloat16).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = steer.load(tmp_path)
    assert (model.dtype, model.device.type) == (torch.bfloat16, "cuda")


def test_options_reach_from_pretrained(saved: Path) -> None:
    model = steer.load(saved, device="cpu", attn_implementation="eager")
    assert model.hf.config._attn_implementation == "eager"


def test_a_device_map_decides_where_the_model_goes(saved: Path) -> None:
    model = steer.load(saved, device_map={"": "cpu"})
    assert model.device == torch.device("cpu")
    assert torch.equal(_logits(model.hf), _logits(tiny.network()))


@pytest.mark.parametrize("name", ["no-such-model", "nobody/no-such-model"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(
        ModelError, match=rf"^load: no model can be loaded from the name '{name}' \(.+\){KNOWN}"
    ):
        steer.load(name, device="cpu")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _unknown_type(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "abacus"}')


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_no_config, "Unrecognized model in .*config.json"),
        (_broken_config, "is not a valid JSON file"),
        (_unknown_type, "model type `abacus`"),
        (_no_weights, "no file named model.safetensors"),
        (_cut_weights, "incomplete metadata, file not fully covered"),
        (_no_tokenizer, "tokenizer"),
    ],
)
def test_a_folder_that_is_no_model(
    damage: Callable[[Path], None], reason: str, saved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    damage(folder)
    start = f"^load: no model can be loaded from the folder '{folder}' "
    with pytest.raises(ModelError, match=rf"{start}\(.*{reason}.*\){KNOWN}"):
        steer.load(folder, device="cpu")


@pytest.mark.parametrize("dtype", ["float8", "fp32", ""])
def test_an_unknown_dtype(dtype: str, saved: Path) -> None:
    with pytest.raises(
        ModelError,
        match=rf"^load: unknown dtype '{dtype}'; expected auto, float32, bfloat16, float16$",
    ):
        steer.load(saved, dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_an_unusable_device(device: str, saved: Path) -> None:
    with pytest.raises(
        ModelError, match=rf"^load: cannot use device '{device}' \(.+\); try 'auto'$"
    ):
        steer.load(saved, device=device)


def test_a_zoo_name_is_pulled_and_named(
    index: Index, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(gguf: Path, into: Path) -> None:
        shutil.copytree(saved, into)

    monkeypatch.setattr("steer._zoo._convert", convert)
    model = steer.load("toy", device="cpu")
    assert (model.name, model.revision) == ("toy", _load.ZOO["toy"].sha256[:12])
    assert torch.equal(_logits(model.hf), _logits(tiny.network()))
    assert steer.load("toy", device="cpu").name == "toy"
    assert len(index.commands) == 2


def test_a_failed_download_keeps_its_own_error(index: Index) -> None:
    index.answer.returncode, index.answer.stderr = 1, "ERROR: no network\n"
    with pytest.raises(DownloadError, match=r"pip could not download .* \(ERROR: no network\)"):
        steer.load("toy")


def test_the_pulled_folder_loads_without_steer(index: Index, saved: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer._zoo._convert", lambda gguf, into: shutil.copytree(saved, into))
        place = pull("toy", quiet=True)
    hf = LlamaForCausalLM.from_pretrained(place)
    assert torch.equal(_logits(hf), _logits(tiny.network()))
    assert len(AutoTokenizer.from_pretrained(place)) == len(tiny.tokenizer())
