"""Where each token of one forward pass stands in its row; knows no edit and no site.

Positions are absolute. They come from the length of the KV cache and the attention mask of the
pass itself, never from counting calls, so that left and right padding, cached and uncached
decoding, chunked prefill and beam search all agree with one unpadded, uncached pass.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ._errors import DataError


@dataclass(frozen=True)
class Tokens:
    """The tokens of one forward pass.

    Attributes:
        real: True where the token is not padding.
        position: index among the row's real tokens, from 0.
        prompt_length: how many real tokens the row's prompt has.
        past: tokens in the cache before this pass, padding included.
        ids: the tokens of the cache and of the pass; None if the pass was given embeddings, or if
            no plan needs them.
        seen: True where a token of `ids` is not padding.
    """

    real: Bool[Tensor, "batch seq"]
    position: Int[Tensor, "batch seq"]
    prompt_length: Int[Tensor, "batch 1"]
    past: int = 0
    ids: Int[Tensor, "batch total"] | None = None
    seen: Bool[Tensor, "batch total"] | None = None

    @classmethod
    def of_pass(
        cls,
        shape: tuple[int, int],
        device: torch.device,
        past: int,
        mask: Tensor | None,
        prompt_length: Int[Tensor, " prompts"] | None,
        ids: Int[Tensor, "batch total"] | None = None,
    ) -> "Tokens":
        """Place the tokens of a pass.

        Args:
            shape: (batch, seq) of the tensors in the pass.
            device: where the result lives.
            past: tokens already in the cache, padding included.
            mask: the pass's attention mask, `(batch, past + seq)` or four-dimensional; None if
                nothing is padded.
            prompt_length: real prompt tokens of each prompt. Rows may be a multiple of prompts
                (beams, return sequences), next to each other. None: an empty cache means that the
                whole pass is prompt, a filled one that the whole pass is generated.
            ids: the tokens of the cache and of the pass, where a span looks at them.

        Raises:
            DataError: if the mask does not cover the pass, or rows are no multiple of prompts.
        """
        batch, seq = shape
        seen = _real_so_far(batch, past + seq, seq, device, mask)
        real = seen[:, past:]
        position = seen.cumsum(1)[:, past:] - 1
        if prompt_length is None:
            counted = seen[:, :past] if past else seen
            length = counted.sum(1, keepdim=True)
        else:
            length = _per_row(prompt_length.to(device, non_blocking=True), batch)
        return cls(real, position, length, past, ids, seen)

    def known_ids(self, span: str) -> Int[Tensor, "batch total"]:
        """The tokens, for a span that looks at them.

        Raises:
            DataError: if they are not known.
        """
        if self.ids is None:
            raise DataError(
                f"span {span}: the tokens of this pass are not known; run the whole row, from its "
                "first token on, inside the block, and give input_ids and not inputs_embeds"
            )
        return self.ids

    def after_first(self, marker: tuple[int, ...], span: str) -> Bool[Tensor, "batch seq"]:
        """True for the tokens that follow the first occurrence of `marker` in their row."""
        ids, seen = self.known_ids(span), self.seen
        assert seen is not None
        total, size = ids.shape[1], len(marker)
        if total < size:
            return torch.zeros_like(self.real)
        # Padding may stand between a prompt and its answer: line up the real tokens first.
        place = (seen.cumsum(1) - 1).masked_fill(~seen, total)
        row = torch.full((ids.shape[0], total + 1), -1, dtype=ids.dtype, device=ids.device)
        row = row.scatter(1, place, ids)[:, :total]
        starts = torch.stack([row[:, i : total - size + 1 + i] == m for i, m in enumerate(marker)])
        found = starts.all(0)
        end = torch.where(found.any(1), found.int().argmax(1) + size - 1, total)
        return self.position > end.unsqueeze(1)


def _real_so_far(
    batch: int, total: int, seq: int, device: torch.device, mask: Tensor | None
) -> Bool[Tensor, "batch total"]:
    if mask is None:
        return torch.ones(batch, total, dtype=torch.bool, device=device)
    if mask.shape[-1] < total:
        raise DataError(
            f"attach: the attention mask covers {mask.shape[-1]} tokens, but the pass ends at "
            f"token {total}; pass a mask over the cached and the new tokens together"
        )
    if mask.dim() == 4:
        return _from_square(mask, batch, total, seq).to(device)
    return mask[:, :total].to(device=device, dtype=torch.bool).expand(batch, total)


def _from_square(mask: Tensor, batch: int, total: int, seq: int) -> Bool[Tensor, "batch total"]:
    """A token is real if it may attend to itself; one that is cached, if the last row sees it."""
    allowed = mask[:, 0, :, :total]
    allowed = allowed if allowed.dtype == torch.bool else allowed == 0
    new = allowed[:, :, total - seq :].diagonal(dim1=1, dim2=2)
    old = allowed[:, -1, : total - seq]
    return torch.cat([old, new], dim=1).expand(batch, total)


def _per_row(lengths: Int[Tensor, " prompts"], batch: int) -> Int[Tensor, "batch 1"]:
    prompts = lengths.shape[0]
    if batch % prompts:
        raise DataError(
            f"attach: {prompts} prompt lengths do not divide a batch of {batch} rows; "
            "give one length per prompt"
        )
    if batch > prompts:
        lengths = lengths.repeat_interleave(batch // prompts)
    return lengths.unsqueeze(1)
