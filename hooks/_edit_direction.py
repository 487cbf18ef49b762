"""Edits that change the part of the states along one direction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ._edit import (
    Bound,
    Chosen,
    Hidden,
    OneVector,
    Strength,
    direction_of,
    is_number,
    per_row,
    precise,
    unit,
    where,
)
from ._errors import PlanError


@dataclass(frozen=True, eq=False)
class Ablate(OneVector):
    """Remove a direction: `h' = h - s (h . u) u`.

    Strength 1 removes all of it (directional ablation, https://arxiv.org/abs/2406.11717).

    Args:
        vector: `v`, of any non-zero length.

    Raises:
        PlanError: if the vector is zero, or not one finite, one-dimensional tensor.
    """

    name: ClassVar[str] = "ablate"
    vector: Float[Tensor, " d"] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", direction_of(self.vector, "Ablate"))

    @classmethod
    def bind(cls, edits: Sequence["Ablate"], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """`h - s (h . u) u`."""
        along = per_row([unit(edit.vector) for edit in edits], like)
        strength = per_row(strengths, like)

        def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
            exact = hidden.to(precise(hidden))
            return where(chosen, exact - strength * _dot(exact, along) * along, hidden)

        return apply


@dataclass(frozen=True, eq=False)
class Clamp(OneVector):
    """Clamp a projection: `h' = h + s (clip(h . u, low, high) - h . u) u`.

    Args:
        vector: `v`, of any non-zero length.
        low: least projection, in the units of the hidden states; None for no bound.
        high: greatest projection; equal to `low`, it sets the projection to that value.

    Raises:
        PlanError: no bound, bounds that are not finite or cross, or a vector that is no direction.
    """

    name: ClassVar[str] = "clamp"
    vector: Float[Tensor, " d"] = field(repr=False)
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", direction_of(self.vector, "Clamp"))
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if not bounds or not all(is_number(bound) for bound in bounds):
            raise PlanError(
                f"Clamp: expected a finite low or high, got low={self.low}, high={self.high}"
            )
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise PlanError(f"Clamp: low={self.low} is above high={self.high}")

    @property
    def options(self) -> Mapping[str, Any]:
        """`low` and `high`."""
        return {"low": self.low, "high": self.high}

    @classmethod
    def bind(cls, edits: Sequence["Clamp"], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """Move the projection into the range."""
        along = per_row([unit(edit.vector) for edit in edits], like)
        strength = per_row(strengths, like)
        low, high = edits[0].low, edits[0].high

        def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
            exact = hidden.to(precise(hidden))
            now = _dot(exact, along)
            move = strength * (now.clamp(low, high) - now) * along
            return where(chosen, exact + move, hidden)

        return apply


@dataclass(frozen=True, eq=False)
class Rotate(OneVector):
    """Turn the states towards a direction by an angle, in the plane of both; the norm stays.

    The angle is `s * degrees`; a negative one turns away. A state never turns past the direction
    (or past its opposite). A state that lies along the direction has no such plane and stays.

    Args:
        vector: `v`, of any non-zero length.
        degrees: the angle at strength 1.

    Raises:
        PlanError: if the angle is not finite, or the vector is no direction.
    """

    name: ClassVar[str] = "rotate"
    vector: Float[Tensor, " d"] = field(repr=False)
    degrees: float = 90.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", direction_of(self.vector, "Rotate"))
        if not is_number(self.degrees):
            raise PlanError(f"Rotate: expected a finite angle in degrees, got {self.degrees}")

    @property
    def options(self) -> Mapping[str, Any]:
        """`degrees`."""
        return {"degrees": self.degrees}

    @classmethod
    def bind(cls, edits: Sequence["Rotate"], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """`|h| (cos(a') u + sin(a') w)`, with `a'` the new angle to `u` and `w` across it."""
        along = per_row([unit(edit.vector) for edit in edits], like)
        turn = math.radians(edits[0].degrees) * per_row(strengths, like)

        def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
            exact = hidden.to(precise(hidden))
            part = _dot(exact, along)
            across = exact - part * along
            side = across.detach().norm(dim=-1, keepdim=True)
            length = torch.hypot(side, part.detach())
            turns = side > 1e-6 * length  # not along the direction, up to rounding
            turns = turns if chosen is None else turns & chosen
            # The others take harmless values, which keep their gradients finite.
            across = torch.where(turns, across, torch.ones_like(across))
            part = torch.where(turns, part, torch.zeros_like(part))
            side = across.norm(dim=-1, keepdim=True)
            angle = (torch.atan2(side, part) - turn).clamp(0, math.pi)
            new = torch.hypot(side, part) * (angle.cos() * along + angle.sin() * (across / side))
            return where(turns, new, hidden)

        return apply


def _dot(states: Hidden, along: Tensor) -> Tensor:
    """`h . u` of each token, as `(rows, tokens, 1)`."""
    return (states @ along if along.dim() == 1 else (states * along).sum(-1)).unsqueeze(-1)
