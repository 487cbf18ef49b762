"""Goes through many rows in batches and reads the states of the tokens that a span selects."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ._attached import attached, rows_of
from ._batching import by_tokens
from ._capture import capture
from ._errors import DataError, RunError
from ._model import Model, as_model
from ._pass import Pass
from ._prompts import prompts
from ._sites import Site
from ._span_text import as_span
from ._spans import Span
from ._tokens import Tokens
from ._watching import watching

Pool = Literal["last", "mean", "none"]
Row = str | Sequence[int] | tuple[Sequence[int], Sequence[int]]
"""A text, its token ids, or the token ids of a prompt and of its continuation."""

Tokenised = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Reading:
    """The states of one batch.

    Attributes:
        rows: which rows stand in it.
        states: the tensors at the sites.
        mask: the tokens that the span selects.
    """

    rows: Sequence[Tokenised]
    states: dict[Site, Float[Tensor, "batch seq d"]]
    mask: Bool[Tensor, "batch seq"]

    def pooled(self, site: Site, pool: Pool) -> Float[Tensor, "n d"]:
        """The selected states in float32: one a row, or with `none` all of them, row after row."""
        hidden = self.states[site]
        mask = self.mask.to(hidden.device)
        if pool == "none":
            return hidden[mask].float()
        if pool == "last":
            places = torch.arange(mask.shape[1], device=mask.device)
            last = (places * mask).argmax(1)
            return hidden[torch.arange(len(hidden), device=mask.device), last].float()
        total = (hidden.float() * mask.unsqueeze(-1)).sum(1)
        return total / mask.sum(1, keepdim=True)


class Request(NamedTuple):
    """What is to be read.

    Attributes:
        model: the model.
        rows: the rows as token ids of a prompt and its continuation.
        sites: where to read.
        span: which tokens to read.
        pool: what is kept of them.
        batch_tokens: tokens in a batch, padding included.
    """

    model: Model
    rows: list[Tokenised]
    sites: list[Site]
    span: Span
    pool: Pool
    batch_tokens: int

    @classmethod
    def of(
        cls,
        who: str,
        model: Any,
        rows: Sequence[Row],
        sites: Site | Sequence[Site],
        span: Span | str,
        pool: Pool,
        batch_tokens: int,
    ) -> "Request":
        """Check what a caller named `who` was given.

        Raises:
            DataError: no rows, an empty row, an unknown pool, or a span that holds a mask.
            RunError: if the model is steered by plans for rows.
            SiteError: if the model has no such site.
        """
        wrapped, span = as_model(model), as_span(span)
        wanted = [sites] if isinstance(sites, Site) else list(dict.fromkeys(sites))
        if pool not in ("last", "mean", "none"):
            raise DataError(f"{who}: unknown pool {pool!r}; expected last, mean or none")
        if span.masks:
            raise DataError(f"{who}: a mask belongs to one batch; use capture, or another span")
        for site in wanted:
            wrapped.check(site)
        count = rows_of(wrapped.hf)
        if count > 1:
            raise RunError(
                f"{who}: the model is steered by plans for {count} rows, but the rows are put in "
                "another order here; attach one plan for all rows, or use capture"
            )
        pairs = [_tokens_of(wrapped, row) for row in rows]
        if not pairs:
            raise DataError(f"{who}: no rows given")
        if not all(prompt + continuation for prompt, continuation in pairs):
            raise DataError(f"{who}: expected rows of at least one token each, got an empty one")
        return cls(wrapped, pairs, wanted, span, pool, batch_tokens)

    def described(self) -> dict[str, Any]:
        """What decides the states, as JSON values."""
        return {
            "model": self.model.name,
            "revision": self.model.revision,
            "dtype": str(self.model.dtype),
            "weights": _weights(self.model.hf),
            "plans": list(attached(self.model.hf)),
            "rows": hashlib.sha256(json.dumps(self.rows).encode()).hexdigest(),
            "sites": [str(site) for site in self.sites],
            "span": str(self.span),
            "pool": self.pool,
            "batch_tokens": self.batch_tokens,
        }

    def groups(self, *, unique: bool) -> list[list[Tokenised]]:
        """The rows in batches, longest first; with `unique` each row once."""
        rows = list(dict.fromkeys(self.rows)) if unique else self.rows
        lengths = [len(prompt) + len(continuation) for prompt, continuation in rows]
        return [[rows[i] for i in group] for group in by_tokens(lengths, self.batch_tokens)]


def _tokens_of(model: Model, row: Row) -> Tokenised:
    if isinstance(row, str):
        return tuple(model.token_ids(row)), ()
    if isinstance(row, tuple) and row and not isinstance(row[0], int):
        prompt, continuation = row
        return tuple(prompt), tuple(continuation)
    return tuple(cast(Sequence[int], row)), ()


def readings(request: Request, groups: Sequence[Sequence[Tokenised]]) -> Iterator[Reading]:
    """Read batch after batch.

    Raises:
        DataError: if the span selects no token of a row.
    """
    model, span = request.model, request.model.resolved(request.span)
    for rows in groups:
        batch = model.batch([prompt + continuation for prompt, continuation in rows], pad="right")
        state = Pass()
        slot = state.slot((span,))
        with watching(model, state), prompts([len(prompt) for prompt, _ in rows]):
            read = capture(model, _inputs(model, batch), request.sites)
        mask = state.select(slot, batch["input_ids"].device).squeeze(-1)
        empty = len(rows) - int(mask.any(1).sum())
        if empty:
            raise DataError(f"record: span {request.span} selects no token of {empty} rows")
        yield Reading(rows, read, mask)


def counts(request: Request) -> list[int]:
    """How many tokens of each row the span selects, worked out without the model."""
    span = request.model.resolved(request.span)
    found = []
    for prompt, continuation in request.rows:
        ids = torch.tensor([prompt + continuation])
        shape = (1, ids.shape[1])
        length = torch.tensor([len(prompt)])
        tokens = Tokens.of_pass(shape, ids.device, 0, None, length, ids)
        found.append(int(span(tokens).sum()))
    return found


def _weights(hf: nn.Module) -> str:
    """A digest of some values of each weight: models in memory may share a name."""
    digest = hashlib.sha256()
    for name, weight in hf.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        if weight.device.type != "meta" and weight.numel():
            few = weight.detach().flatten()[:: max(1, weight.numel() // 16)]
            digest.update(few.cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _inputs(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Encoder-decoders read the rows with their decoder, after an encoder that sees one token."""
    if not model.hf.config.is_encoder_decoder:
        return batch
    ids = batch["input_ids"]
    return {
        "input_ids": ids.new_full((ids.shape[0], 1), model.pad_id),
        "decoder_input_ids": ids,
        "decoder_attention_mask": batch["attention_mask"],
    }
