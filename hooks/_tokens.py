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
    """

    real: Bool[Tensor, "batch seq"]
    position: Int[Tensor, "batch seq"]
    prompt_length: Int[Tensor, "batch 1"]

    @classmethod
    def of_pass(
        cls,
        shape: tuple[int, int],
        device: torch.device,
        past: int,
        mask: Tensor | None,
        prompt_length: Int[Tensor, " prompts"] | None,
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
            length = _per_row(prompt_length.to(device), batch)
        return cls(real, position, length)


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
    return lengths.repeat_interleave(batch // prompts).unsqueeze(1)
