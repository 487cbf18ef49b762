"""Edits of the routing weights of a mixture of experts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ._edit import Bound, Chosen, Hidden, Strength, per_row, where
from ._errors import PlanError


@dataclass(frozen=True, eq=False)
class ScaleExperts:
    """Multiply the routing weights of chosen experts: `w'_e = w_e (1 + s (factor_e - 1))`.

    Only where the router chose the expert; the others stay as they are, and nothing is normalised
    again (RICE, https://arxiv.org/abs/2505.14681, section 3.3).

    Args:
        factors: the factor of each expert by its index; 1 for those not named.

    Raises:
        PlanError: if there are none, or an index or a factor cannot be used.
    """

    name: ClassVar[str] = "scale_experts"
    factors: Mapping[int, float]

    def __post_init__(self) -> None:
        if not self.factors:
            raise PlanError("ScaleExperts: no experts given; name one, such as {12: 64.0}")
        for expert, factor in self.factors.items():
            if isinstance(expert, bool) or not isinstance(expert, int) or expert < 0:
                raise PlanError(f"ScaleExperts: expected expert indices from 0, got {expert!r}")
            if isinstance(factor, bool) or not isinstance(factor, int | float):
                raise PlanError(f"ScaleExperts: expected a number for {expert}, got {factor!r}")
            if not math.isfinite(factor):
                raise PlanError(f"ScaleExperts: expected a finite factor, got {factor}")
        ordered = {e: float(self.factors[e]) for e in sorted(self.factors)}
        object.__setattr__(self, "factors", ordered)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """`experts`, their indices, and `factors`."""
        experts = torch.tensor(list(self.factors))
        return {"experts": experts, "factors": torch.tensor(list(self.factors.values()))}

    @property
    def options(self) -> Mapping[str, Any]:
        """None."""
        return {}

    @property
    def width(self) -> None:
        """Any number of experts above the highest index."""
        return None

    @classmethod
    def bind(
        cls, edits: Sequence["ScaleExperts"], strengths: Sequence[Strength], like: Tensor
    ) -> Bound:
        """`w (1 + s (factor - 1))`, on dense weights that are 0 where an expert is not chosen."""
        strength = per_row(strengths, like)
        more = per_row([edit._more(like.shape[-1]) for edit in edits], like)

        def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
            return where(chosen, hidden * (1 + strength * more), hidden)

        return apply

    def _more(self, experts: int) -> Tensor:
        more = torch.zeros(experts)
        for expert, factor in self.factors.items():
            more[expert] = factor - 1
        return more
