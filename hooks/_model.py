"""A network with its tokenizer and its sites; knows no plan."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from ._anatomy import Anatomy, Places
from ._bridge import BridgeAnatomy, is_bridged
from ._device import input_device
from ._errors import DataError, ModelError
from ._head import Head
from ._probe import probed, refuse
from ._sites import Site
from ._span_of_model import resolved
from ._spans import Span
from ._unwrap import tokenizer_of, unwrapped

Batch = dict[str, Tensor]
"""`input_ids`, `attention_mask` and `position_ids`, each `Int[Tensor, "batch seq"]`."""


class Model:
    """A Hugging Face model, its tokenizer and the places in it that can be read or edited.

    Args:
        hf: the model, or what a library has wrapped around it (see `attach`); it is used as it is
            and given back by `model.hf`. The first time, two tokens are run through it to see that
            its sites are what they say.
        tokenizer: its tokenizer, or its processor if it reads images too; needed by everything
            that takes text.
        name: what plans and reports call it.
        revision: which version of the weights.
        places: modules that cannot be found or are taken for others, by name: `layers`, `embed` and
            `final` with their path in the model, `attn_out`, `mlp_out`, `heads` (the output
            projection) and `router` with their path in a layer.

    Raises:
        ModelError: if no decoder layers can be found in it, or they do not give hidden states.
    """

    def __init__(
        self,
        hf: Any,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        name: str | None = None,
        revision: str | None = None,
        places: Places | None = None,
    ) -> None:
        self.given = hf  # a TransformerBridge has a generation of its own
        tokenizer = tokenizer_of(hf) if tokenizer is None else tokenizer
        self.hf: PreTrainedModel = (hf := unwrapped(hf))
        self.processor = tokenizer if isinstance(tokenizer, ProcessorMixin) else None
        self._tokenizer = (
            tokenizer.tokenizer if isinstance(tokenizer, ProcessorMixin) else tokenizer
        )
        self.name = name or hf.config.name_or_path or type(hf).__name__
        self.revision = revision or getattr(hf.config, "_commit_hash", None)
        anatomy = Anatomy.of(hf, places)
        self.anatomy = BridgeAnatomy.around(anatomy) if is_bridged(anatomy) else anatomy
        self.findings = probed(hf, self.anatomy)
        self._head = Head(self.name, self.hf, self.anatomy, self.findings)

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, {type(self.hf).__name__}, layers={self.n_layers}, "
            f"d_model={self.d_model}, dtype={str(self.dtype).removeprefix('torch.')}, "
            f"device={str(self.device)!r})"
        )

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer.

        Raises:
            ModelError: if the model was wrapped without one.
        """
        if self._tokenizer is None:
            raise ModelError(
                f"{self.name}: no tokenizer; wrap the model as Model(hf, tokenizer=...)"
            )
        return self._tokenizer

    @property
    def n_layers(self) -> int:
        """How many decoder layers there are."""
        return len(self.anatomy.layers)

    @property
    def d_model(self) -> int:
        """Hidden size."""
        return self.anatomy.d_model

    def check(self, site: Site) -> None:
        """Refuse a site that this model does not have.

        Raises:
            SiteError: says what was looked for, and how to name it by hand.
        """
        self.anatomy.check(site)
        refuse(self.findings, site)

    def width(self, site: Site) -> int | None:
        """The last dimension of the tensor at a site; None if only a pass would show it."""
        if site in self.findings.widths:
            return self.findings.widths[site]
        return None if site.kind in ("heads", "router") else self.d_model

    def resolved(self, span: Span) -> Span:
        """The span with texts and images turned into the token ids of this model.

        Raises:
            PlanError: if the model reads no images, or has no tokenizer, and the span needs it.
        """
        return resolved(span, self.hf.config, self._tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the token embedding is, and so where inputs go."""
        return input_device(self.anatomy.embedding)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the activations."""
        return next(self.anatomy.embedding.parameters()).dtype

    @property
    def pad_id(self) -> int:
        """The token that fills up shorter rows; it is masked, so any will do."""
        ends = (getattr(self._tokenizer, f"{name}_token_id", None) for name in ("pad", "eos"))
        return next((int(token) for token in ends if token is not None), 0)

    def token_ids(self, text: str, *, start: bool = True) -> list[int]:
        """The tokens of a text.

        Args:
            text: plain text, or text that a chat template made.
            start: put the tokenizer's beginning-of-sequence token in front, if it has that habit
                and the text does not begin with it already.
        """
        bos = self.tokenizer.bos_token
        start = start and not (bos and text.startswith(bos))
        return list(self.tokenizer(text, add_special_tokens=start)["input_ids"])

    def chat(self, message: str, system: str | None = None) -> str:
        """A user's message in the model's chat template, up to where the answer begins.

        Raises:
            DataError: if the tokenizer has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise DataError(f"{self.name}: the tokenizer has no chat template; use plain prompts")
        turns = [{"role": "system", "content": system}] if system is not None else []
        turns.append({"role": "user", "content": message})
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return str(text)

    def batch(self, rows: Sequence[Sequence[int]], *, pad: str = "left") -> Batch:
        """Pad rows of token ids to one batch on the model's device.

        Args:
            rows: token ids, at least one in each row.
            pad: the side that is filled up, `left` or `right`.

        Raises:
            DataError: if there are no rows, one is empty, or `pad` is no side.
        """
        if pad not in ("left", "right"):
            raise DataError(f"batch: unknown side {pad!r} to pad; expected left or right")
        if not rows or not all(rows):
            raise DataError("batch: expected rows of at least one token each, got an empty one")
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad_id)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for r, row in enumerate(rows):
            span = slice(width - len(row), width) if pad == "left" else slice(0, len(row))
            ids[r, span] = torch.tensor(row)
            mask[r, span] = 1
        places = (mask.cumsum(1) - 1).clamp_min(0)
        batch = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    @overload
    def generate_text(self, prompts: str, max_new_tokens: int = 64, **options: Any) -> str: ...
    @overload
    def generate_text(
        self, prompts: Sequence[str], max_new_tokens: int = 64, **options: Any
    ) -> list[str]: ...
    @torch.no_grad()
    def generate_text(
        self, prompts: str | Sequence[str], max_new_tokens: int = 64, **options: Any
    ) -> str | list[str]:
        """Continue one prompt or a batch of prompts; greedy unless `do_sample=True`.

        Args:
            prompts: plain text; `model.chat(message)` puts a message into the chat template.
            max_new_tokens: at most so many new tokens in each row.
            options: passed on to `hf.generate`.

        Returns:
            The new text only, one string a prompt (times `num_return_sequences`).
        """
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        batch = self.batch([self.token_ids(row) for row in rows])
        del batch["position_ids"]  # generate makes its own, the same, from the mask
        options = {"do_sample": False, "pad_token_id": self.pad_id} | options
        out = self.hf.generate(**batch, max_new_tokens=max_new_tokens, **options)
        new = out[:, batch["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return str(texts[0]) if isinstance(prompts, str) and len(texts) == 1 else list(texts)

    def logits(self, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        """What the LM head makes of states at the `final` site, in float32.

        Raises:
            ModelError: if the model does something to its logits that is not known here.
        """
        return self._head(states)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Turn off parameter gradients (and dropout) inside, as they were again outside."""
        wanted = [p for p in self.hf.parameters() if p.requires_grad]
        modes = [(module, module.training) for module in self.hf.modules()]
        try:
            self.hf.requires_grad_(False)
            self.hf.eval()
            yield
        finally:
            for parameter in wanted:
                parameter.requires_grad_(True)
            for module, training in modes:
                module.training = training


def as_model(model: Any) -> Model:
    """The model itself, or a wrapper around a transformers model (see `attach`)."""
    return model if isinstance(model, Model) else Model(model)
