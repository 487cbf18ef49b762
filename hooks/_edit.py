"""What an edit is; the edits themselves are in `_edit_*.py`. Knows no token, span or model.

An edit is frozen data. `bind` takes the edits of all rows of a batch at once and returns one pure,
differentiable function of the hidden states, with everything that does not depend on them computed
already, in the device and dtype of `like`.

Rounding. An added vector is scaled in float32, rounded once, and added in the activation's dtype:
in bfloat16 the error of a sum in float32 is the same while the vector is small beside the state
(docs/plans.md has the figures). Everything with a dot product or a norm is computed in float32,
where bfloat16 would leave half as much again of an ablated direction behind.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._errors import PlanError

Hidden = Float[Tensor, "rows tokens d"]
Chosen = Bool[Tensor, "rows tokens 1"]
Bound = Callable[[Hidden, Chosen | None], Hidden]
"""From the states and the tokens that are to be edited (None: all of them) to the new states."""
Strength = float | Tensor
"""A number, or a tensor with one."""


@runtime_checkable
class Edit(Protocol):
    """A pure function of the tensor at a site, with its parameters."""

    name: ClassVar[str]

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What defines it besides the options, by field name."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The settings besides the tensors, as JSON values; only edits with equal ones batch."""
        ...

    @property
    def width(self) -> int | None:
        """The last dimension of the tensors it fits; None if any."""
        ...

    @classmethod
    def bind(cls, edits: Sequence[Any], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """The function of the hidden states.

        Args:
            edits: one for every row (or rows next to each other), or one for all.
            strengths: as many.
            like: a tensor of the device and dtype to prepare for.
        """
        ...


class OneVector:
    """What the edits with one vector and no options share."""

    vector: Float[Tensor, " d"]

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """`vector`."""
        return {"vector": self.vector}

    @property
    def options(self) -> Mapping[str, Any]:
        """None."""
        return {}

    @property
    def width(self) -> int:
        """The vector's length."""
        return self.vector.shape[0]


def vector_of(vector: Tensor, who: str, dims: int = 1) -> Tensor:
    """A float32 copy that the caller cannot change; one that is trained stays itself.

    Raises:
        PlanError: if it is no finite tensor of that many dimensions.
    """
    if not isinstance(vector, Tensor) or vector.dim() != dims:
        got = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
        shape = {1: "a vector of shape (d_model,)", 2: "a matrix of shape (rank, d_model)"}[dims]
        raise PlanError(f"{who}: expected {shape}, got {got}")
    if not torch.isfinite(vector.detach()).all():
        raise PlanError(
            f"{who}: the vector has NaN or infinite entries; "
            "check the states that it was made from (float16 overflows easily)"
        )
    return vector if vector.requires_grad else vector.to(torch.float32, copy=True)


def direction_of(vector: Tensor, who: str) -> Float[Tensor, " d"]:
    """The same for a vector that must not be zero."""
    vector = vector_of(vector, who)
    if not vector.detach().any():
        raise PlanError(f"{who}: the direction is zero; check that the contrastive pairs differ")
    return vector


def is_number(value: object) -> bool:
    """Whether a setting is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)


def unit(vector: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """The vector at length 1."""
    small = vector / vector.detach().abs().max()  # or the norm may over- or underflow
    long: Tensor = small / small.norm()
    return long


def per_row(values: Sequence[Tensor | float], like: Tensor, *, exact: bool = True) -> Tensor:
    """Parameters as they broadcast against `(rows, tokens, d)`: alone, or with a row axis.

    Args:
        values: numbers or tensors, one for each row, or one for all.
        like: gives the device, and with `exact=False` the dtype.
        exact: keep float32 (float64 if `like` has it), for what is computed in that.
    """
    dtype = precise(like) if exact else like.dtype
    tensors = [torch.as_tensor(value, dtype=dtype) for value in values]
    # The host need not wait for its own memory to be copied; for the device's it must.
    ahead = like.device.type == "cuda"
    if len(tensors) == 1:
        return tensors[0].to(like.device, dtype, non_blocking=ahead)
    stacked = torch.stack([tensor.cpu() if tensor.dim() == 0 else tensor for tensor in tensors])
    if stacked.dim() < 3:  # numbers and vectors are the same for every token
        stacked = stacked.reshape(len(tensors), 1, -1)
    placed: Tensor = stacked.to(like.device, dtype, non_blocking=ahead)
    return placed


def precise(like: Tensor) -> torch.dtype:
    """The dtype for dot products and norms."""
    return torch.promote_types(like.dtype, torch.float32)


def where(chosen: Chosen | None, new: Hidden, old: Hidden) -> Hidden:
    """The new states of the chosen tokens, in the dtype of the old."""
    if chosen is None:
        return new.to(old.dtype)
    return torch.where(chosen, new.to(old.dtype), old)
