"""Loads a model by name: from the zoo, a folder, a GGUF file or the hub."""

import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from steer.hooks import Model, ModelError, Places, SteerError

from ._zoo import ZOO, pull

# What the libraries raise over files that are missing, damaged or not what they seem.
_UNREADABLE = (
    ImportError,
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    SafetensorError,
    struct.error,
)

# Options of from_pretrained that say where files come from, not how the weights are held.
_HUB_OPTIONS = (
    "cache_dir",
    "force_download",
    "local_files_only",
    "revision",
    "subfolder",
    "token",
    "trust_remote_code",
)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    name_or_path: str | Path,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    places: Places | None = None,
    **options: Any,
) -> Model:
    """Load a model with its tokenizer.

    Args:
        name_or_path: a name of the zoo (`smollm2`, `gemma3-270m`), a local folder, a GGUF file, or
            a hub id.
        device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes a GPU if there is one. With `device_map`
            among the options, leave it at `auto`.
        dtype: `float32`, `bfloat16`, `float16` or a torch dtype; `auto` is float32 on a CPU and the
            checkpoint's own on a GPU.
        places: modules of an architecture that is not understood by itself, named by hand; see
            `Model`.
        options: passed on to `from_pretrained`, such as `revision` or `device_map`.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: nothing of that name, files that are no model, or an unknown dtype or device.
        DownloadError: a zoo model that cannot be fetched.
    """
    name = (
        str(Path(name_or_path).expanduser()) if str(name_or_path)[:1] == "~" else str(name_or_path)
    )
    where = _device(device)
    options["dtype"] = _dtype(dtype, where)
    try:
        if name in ZOO:
            hf, tokenizer = _read(pull(name), options)
            revision: str | None = ZOO[name].sha256[:12]
        elif name.endswith(".gguf"):
            hf, tokenizer = read_gguf(Path(name), **options)
            revision = None
        else:
            hf, tokenizer = _read(name, options)
            revision = options.get("revision")
    except _UNREADABLE as error:
        if isinstance(error, SteerError):
            raise
        raise ModelError(_why_not(name, error)) from error
    if "device_map" not in options:
        hf.to(where)
    return Model(hf.eval(), tokenizer, name=name, revision=revision, places=places)


def read_gguf(path: Path, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A GGUF file as an ordinary, dequantised model.

    Raises:
        ModelError: if there is no such file.
    """
    if not path.is_file():
        raise ModelError(f"load: no file {path}")
    options.setdefault("dtype", torch.float32)
    kwargs = {"gguf_file": path.name}
    hf = AutoModelForCausalLM.from_pretrained(path.parent, **kwargs, **options)
    # The weights are dequantised by now; with these left, save_pretrained would refuse.
    hf.hf_quantizer = None
    if hasattr(hf.config, "quantization_config"):
        del hf.config.quantization_config
    return hf, AutoTokenizer.from_pretrained(path.parent, **kwargs)


def _read(source: str | Path, options: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    pinned = {name: options[name] for name in _HUB_OPTIONS if name in options}
    config = AutoConfig.from_pretrained(source, **pinned)
    if getattr(config, "vision_config", None) is not None:
        hf = AutoModelForImageTextToText.from_pretrained(source, **options)
        return hf, AutoProcessor.from_pretrained(source, **pinned)
    hf = AutoModelForCausalLM.from_pretrained(source, **options)
    return hf, AutoTokenizer.from_pretrained(source, **pinned)


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        where = torch.device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"load: cannot use device {device!r} ({reason}); try 'auto'") from error
    return where


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype | str:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    if dtype not in _DTYPES:
        raise ModelError(f"load: unknown dtype {dtype!r}; expected auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]


def _why_not(name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kind = "folder" if Path(name).is_dir() else "name"
    return (
        f"load: no model can be loaded from the {kind} {name!r} ({reason}); "
        f"expected a name of the zoo ({', '.join(ZOO)}), a folder with config.json, "
        "a .gguf file or a hub id"
    )
