"""Goes through many rows in batches and reads the states of the tokens that a span selects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._batching import by_tokens
from ._capture import capture
from ._errors import DataError
from ._model import Model
from ._pass import Pass, watching
from ._prompts import prompts
from ._sites import Site
from ._spans import Span
from ._tokens import Tokens

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


def tokenised(model: Model, rows: Sequence[Row]) -> list[Tokenised]:
    """The rows as token ids of a prompt and its continuation.

    Raises:
        DataError: if there are none, or one is empty.
    """
    pairs = [_tokens_of(model, row) for row in rows]
    if not pairs:
        raise DataError("record: no rows given")
    if not all(prompt + continuation for prompt, continuation in pairs):
        raise DataError("record: expected rows of at least one token each, got an empty one")
    return pairs


def _tokens_of(model: Model, row: Row) -> Tokenised:
    if isinstance(row, str):
        return tuple(model.token_ids(row)), ()
    if isinstance(row, tuple) and row and not isinstance(row[0], int):
        prompt, continuation = row
        return tuple(prompt), tuple(continuation)
    return tuple(cast(Sequence[int], row)), ()


def check(model: Model, sites: Sequence[Site], span: Span) -> None:
    """Refuse what cannot be read before anything is written.

    Raises:
        DataError: if the span holds a mask.
        SiteError: if the model has no such site.
    """
    if span.masks:
        raise DataError("record: a mask belongs to one batch; use capture, or another span")
    for site in sites:
        model.check(site)


def groups_of(rows: Sequence[Tokenised], batch_tokens: int) -> list[list[Tokenised]]:
    """The rows in batches, longest first."""
    lengths = [len(prompt) + len(continuation) for prompt, continuation in rows]
    return [[rows[i] for i in group] for group in by_tokens(lengths, batch_tokens)]


def readings(
    model: Model, groups: Sequence[Sequence[Tokenised]], sites: Sequence[Site], span: Span
) -> Iterator[Reading]:
    """Read batch after batch.

    Raises:
        DataError: if the span selects no token of a row.
    """
    span = model.resolved(span)
    for rows in groups:
        batch = model.batch([prompt + continuation for prompt, continuation in rows], pad="right")
        state = Pass()
        state.slot((span,))
        with watching(model, state), prompts([len(prompt) for prompt, _ in rows]):
            read = capture(model, _inputs(model, batch), sites)
        mask = state.select((span,), batch["input_ids"].device).squeeze(-1)
        empty = len(rows) - int(mask.any(1).sum())
        if empty:
            raise DataError(f"record: span {span} selects no token of {empty} rows")
        yield Reading(rows, read, mask)


def counts(model: Model, rows: Sequence[Tokenised], span: Span) -> list[int]:
    """How many tokens of each row the span selects, worked out without the model."""
    span = model.resolved(span)
    found = []
    for prompt, continuation in rows:
        ids = torch.tensor([prompt + continuation])
        shape = (1, ids.shape[1])
        length = torch.tensor([len(prompt)])
        tokens = Tokens.of_pass(shape, ids.device, 0, None, length, ids)
        found.append(int(span(tokens).sum()))
    return found


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
