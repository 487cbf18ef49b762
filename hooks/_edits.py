"""What an intervention does to the tensor at a site; knows no token, span or model.

An edit is frozen data with one method: `bind(strength, like)` returns a pure function from the
hidden states to new hidden states, with everything that does not depend on them computed already
in the device and dtype of `like`. Vectors are scaled by the strength in float32 and rounded once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ._errors import PlanError

Bound = Callable[[Float[Tensor, "batch seq d"]], Float[Tensor, "batch seq d"]]


class Edit(Protocol):
    """A pure function of the tensor at a site, with its parameters."""

    name: ClassVar[str]
    vector: Float[Tensor, " d"]

    def bind(self, strength: float, like: Tensor) -> Bound:
        """The function of the hidden states, at this strength."""
        ...

    def options(self) -> dict[str, bool]:
        """The settings besides the vector, as JSON values."""
        ...


@dataclass(frozen=True, eq=False)
class Add:
    """Add a vector: `h' = h + strength * v`; with `keep_norm`, then `h' * |h| / |h'|` per token.

    Args:
        vector: `v`, in the units of the hidden states.
        keep_norm: rescale each token to the norm it had, over the hidden dimension
            (GrAInS, https://arxiv.org/abs/2507.18043, eq. 9).

    Raises:
        PlanError: if the vector is not one finite, one-dimensional tensor.
    """

    name: ClassVar[str] = "add"
    vector: Float[Tensor, " d"] = field(repr=False)
    keep_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", _checked(self.vector, "Add"))

    def bind(self, strength: float, like: Tensor) -> Bound:
        """`h -> h + strength * v`, the norm kept if asked for."""
        delta = (strength * self.vector).to(device=like.device, dtype=like.dtype)
        if not self.keep_norm:
            return lambda hidden: hidden + delta
        return lambda hidden: _with_norm_of(hidden + delta, hidden)

    def options(self) -> dict[str, bool]:
        """`{"keep_norm": ...}`."""
        return {"keep_norm": self.keep_norm}


@dataclass(frozen=True, eq=False)
class Ablate:
    """Remove a direction: `h' = h - strength * (h . u) u`, with `u = v / |v|`.

    Strength 1 removes all of it (directional ablation, https://arxiv.org/abs/2406.11717).

    Args:
        vector: `v`, of any non-zero length.

    Raises:
        PlanError: if the vector is zero, or not one finite, one-dimensional tensor.
    """

    name: ClassVar[str] = "ablate"
    vector: Float[Tensor, " d"] = field(repr=False)

    def __post_init__(self) -> None:
        vector = _checked(self.vector, "Ablate")
        if not vector.detach().any():
            raise PlanError(
                "Ablate: the direction is zero; check that the contrastive pairs differ"
            )
        object.__setattr__(self, "vector", vector)

    def bind(self, strength: float, like: Tensor) -> Bound:
        """`h -> h - strength * (h . u) u`."""
        unit = self.vector / self.vector.detach().abs().max()  # or the norm may over- or underflow
        unit = unit / unit.norm()
        out = (strength * unit).to(device=like.device, dtype=like.dtype)
        unit = unit.to(device=like.device, dtype=like.dtype)
        return lambda hidden: hidden - (hidden @ unit).unsqueeze(-1) * out

    def options(self) -> dict[str, bool]:
        """No settings besides the direction."""
        return {}


EDITS: dict[str, type[Add] | type[Ablate]] = {edit.name: edit for edit in (Add, Ablate)}
"""Every edit by the name that it has in a saved plan."""


def _checked(vector: Tensor, who: str) -> Float[Tensor, " d"]:
    """A float32 copy that the caller cannot change; gradients still reach the original."""
    if not isinstance(vector, Tensor) or vector.dim() != 1:
        got = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
        raise PlanError(f"{who}: expected a vector of shape (d_model,), got {got}")
    if not torch.isfinite(vector.detach()).all():
        raise PlanError(
            f"{who}: the vector has NaN or infinite entries; "
            "check the states that it was made from (float16 overflows easily)"
        )
    return vector.to(torch.float32, copy=True)


def _with_norm_of(
    moved: Float[Tensor, "batch seq d"], hidden: Float[Tensor, "batch seq d"]
) -> Float[Tensor, "batch seq d"]:
    """`moved`, each token rescaled to its norm in `hidden`; norms in float32."""
    before = hidden.norm(dim=-1, keepdim=True, dtype=torch.float32)
    after = moved.norm(dim=-1, keepdim=True, dtype=torch.float32)
    ratio = before / after.clamp_min(1e-30)  # finite, so that a zero token stays zero
    kept: Tensor = (moved * ratio).to(moved.dtype)
    return kept
