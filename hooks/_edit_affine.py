"""An affine map of low rank, such as a trained representation edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ._edit import Bound, Chosen, Hidden, Strength, per_row, precise, vector_of, where
from ._errors import PlanError


@dataclass(frozen=True, eq=False)
class Affine:
    """Add an affine map of low rank: `h' = h + s (write^T (read h) + bias)`.

    LoReFT (https://arxiv.org/abs/2404.03592, eq. 2), `h + R^T (W h + b - R h)`, is
    `Affine(W - R, R, R^T b)`.

    Args:
        read: what is read of a state, `Float[Tensor, "rank d"]`.
        write: the directions that are written, `Float[Tensor, "rank d"]`.
        bias: added to every state, `Float[Tensor, "d"]`; None for nothing.

    Raises:
        PlanError: if a tensor is not finite, or their shapes differ.
    """

    name: ClassVar[str] = "affine"
    read: Float[Tensor, "rank d"] = field(repr=False)
    write: Float[Tensor, "rank d"] = field(repr=False)
    bias: Float[Tensor, " d"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        read, write = vector_of(self.read, "Affine", 2), vector_of(self.write, "Affine", 2)
        shape = read.shape[1:]
        given = self.bias
        bias = torch.zeros(shape) if given is None else vector_of(given, "Affine")
        if read.shape != write.shape or bias.shape != shape:
            raise PlanError(
                f"Affine: expected read and write of one shape (rank, d) and a bias (d,), got "
                f"{tuple(read.shape)}, {tuple(write.shape)} and {tuple(bias.shape)}"
            )
        for name, tensor in (("read", read), ("write", write), ("bias", bias)):
            object.__setattr__(self, name, tensor)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """`read`, `write` and `bias`."""
        assert self.bias is not None
        return {"read": self.read, "write": self.write, "bias": self.bias}

    @property
    def options(self) -> Mapping[str, Any]:
        """None."""
        return {}

    @property
    def width(self) -> int:
        """The hidden size that it fits."""
        return self.read.shape[1]

    @classmethod
    def bind(cls, edits: Sequence["Affine"], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """`h + s (write^T (read h) + bias)`; lower ranks are filled up with zeros."""
        rank = max(edit.read.shape[0] for edit in edits)
        read = per_row([pad(e.read, (0, 0, 0, rank - e.read.shape[0])) for e in edits], like)
        write = per_row([pad(e.write, (0, 0, 0, rank - e.write.shape[0])) for e in edits], like)
        bias = per_row([edit.tensors["bias"] for edit in edits], like)
        strength = per_row(strengths, like)

        def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
            exact = hidden.to(precise(hidden))
            change = exact @ read.transpose(-1, -2) @ write + bias
            return where(chosen, exact + strength * change, hidden)

        return apply
