from pathlib import Path

import huggingface_hub.constants
import pytest

import tiny
import toy_zoo
from steer import _wheels, _zoo


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is no folder fails at once instead of asking the hub five times."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny llama and its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.network().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> toy_zoo.Index:
    """The zoo with one more model, `toy`, an empty cache, and pip replaced."""
    folder = tmp_path / "index"
    folder.mkdir()
    made = toy_zoo.Index(folder)

    def convert(gguf: Path, into: Path) -> None:
        into.mkdir()
        (into / "model.safetensors").write_bytes(gguf.read_bytes())
        (into / "config.json").write_text("{}")

    monkeypatch.setenv("STEER_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(_zoo.ZOO, "toy", toy_zoo.TOY)
    monkeypatch.setattr(_wheels.subprocess, "run", made.run)
    monkeypatch.setattr(_zoo, "_convert", convert)
    return made
