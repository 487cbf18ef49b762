"""Finds the transformers model inside what other libraries wrap around one.

Their classes are told by the name of their package, so that none of them is imported: nnsight, for
one, replaces `torch.Tensor.backward` in the whole process when it is.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ._errors import ModelError

_INSIDE = {
    "nnsight": "_module",  # LanguageModel
    "transformer_lens": "original_model",  # TransformerBridge
    "torch": "_orig_mod",  # torch.compile
    "peft": "base_model",  # PeftModel, then its tuner
}


def unwrapped(model: Any) -> PreTrainedModel:
    """The transformers model that does the work.

    Args:
        model: a `PreTrainedModel`, or one in `torch.compile`, `DistributedDataParallel`, a
            `PeftModel`, a TransformerLens `TransformerBridge` or an nnsight `LanguageModel`.

    Raises:
        ModelError: if there is none.
    """
    seen = model
    while not isinstance(seen, PreTrainedModel):
        inner = _inside(seen)
        if inner is None:
            raise ModelError(
                f"Model: expected a transformers PreTrainedModel, got {type(model).__name__}; "
                "steer.load(name_or_path) makes one"
            )
        seen = inner
    return seen


def tokenizer_of(model: Any) -> Any:
    """The tokenizer that a wrapper brings, or None."""
    wraps = _package(model) in ("nnsight", "transformer_lens")
    return getattr(model, "tokenizer", None) if wraps else None


def _inside(model: Any) -> Any:
    package = _package(model)
    names = [_INSIDE[package]] if package in _INSIDE else []
    if isinstance(model, nn.Module):
        names += ["module", "model"]  # DistributedDataParallel; peft's tuners
    return next((i for name in names if (i := getattr(model, name, None)) is not None), None)


def _package(model: Any) -> str:
    return type(model).__module__.partition(".")[0]
