"""Interventions as data: what to edit, where, on which tokens and how strongly.

A plan is immutable and knows no model; `attach` applies it to one.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ._edits import Ablate, Add
from ._errors import PlanError
from ._sites import Site
from ._spans import ALL, Span, as_span


@dataclass(frozen=True, eq=False)
class Intervention:
    """One edit at one site, on chosen tokens, with a strength.

    Args:
        site: where.
        edit: what.
        span: which tokens.
        strength: how much; 0 changes nothing.

    Raises:
        PlanError: if the strength is not a finite number.
    """

    site: Site
    edit: Add | Ablate
    span: Span = ALL
    strength: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.strength, bool) or not isinstance(self.strength, int | float):
            raise PlanError(
                f"strength at {self.site}: expected a number, got {type(self.strength).__name__}"
            )
        if not math.isfinite(self.strength):
            raise PlanError(
                f"strength at {self.site}: expected a finite number, got {self.strength}"
            )

    def describe(self) -> dict[str, Any]:
        """Everything but the vector, as JSON values."""
        return {
            "site": str(self.site),
            "edit": self.edit.name,
            "options": self.edit.options(),
            "span": str(self.span),
            "strength": float(self.strength),
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """An ordered set of interventions, with algebra.

    `a + b` applies `a` and then `b`; `0.5 * a` scales every strength and `-a` flips it;
    `a.only(layers=[14])` keeps some; `a.at(0.1)` sets every strength.

    Args:
        interventions: applied in this order where they share a site.
        meta: how the plan was made, as JSON values; `model` and `hidden_size` say what it is for.
    """

    interventions: tuple[Intervention, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interventions", tuple(self.interventions))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    def __len__(self) -> int:
        return len(self.interventions)

    def __iter__(self) -> Iterator[Intervention]:
        return iter(self.interventions)

    def __repr__(self) -> str:
        places = ", ".join(
            f"{i.edit.name} {i.strength:g} at {i.site} ({i.span})" for i in self.interventions
        )
        return f"Plan({self.meta.get('method', 'by hand')}: {places or 'nothing'})"

    def __add__(self, other: "Plan") -> "Plan":
        if not isinstance(other, Plan):
            return NotImplemented
        shared = {k: v for k, v in self.meta.items() if other.meta.get(k) == v and k != "method"}
        method = f"{self.meta.get('method', 'plan')} + {other.meta.get('method', 'plan')}"
        return Plan(self.interventions + other.interventions, shared | {"method": method})

    def __mul__(self, factor: float) -> "Plan":
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return self._map(lambda i: replace(i, strength=i.strength * factor))

    __rmul__ = __mul__

    def __neg__(self) -> "Plan":
        return self * -1.0

    def at(self, strength: float) -> "Plan":
        """The same plan with every strength set to `strength`."""
        return self._map(lambda i: replace(i, strength=strength))

    def on(self, span: Span | str) -> "Plan":
        """The same plan on other tokens."""
        return self._map(lambda i: replace(i, span=as_span(span)))

    def only(self, layers: int | Collection[int]) -> "Plan":
        """The interventions at these layers.

        Raises:
            PlanError: if the plan has none at one of them.
        """
        wanted = {layers} if isinstance(layers, int) else set(layers)
        missing = wanted - set(self.layers)
        if missing:
            raise PlanError(f"Plan.only: no intervention at layers {sorted(missing)}; {self!r}")
        return Plan(tuple(i for i in self.interventions if i.site.layer in wanted), self.meta)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that are edited, in order."""
        return tuple(sorted({i.site.layer for i in self if i.site.layer is not None}))

    @property
    def vectors(self) -> dict[Site, Float[Tensor, " d_model"]]:
        """The vector at each site, times its strength (copies); for plans with one a site."""
        return {i.site: i.strength * i.edit.vector for i in self.interventions}

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides what the plan does; `meta` does not."""
        digest = hashlib.sha256()
        for item in self.interventions:
            digest.update(json.dumps(item.describe(), sort_keys=True).encode())
            vector = item.edit.vector.detach().to("cpu", torch.float32).contiguous()
            digest.update(vector.numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the plan to a safetensors file, whole or not at all.

        Raises:
            PlanError: if the folder cannot be written.
        """
        from ._plan_file import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan that `save` wrote.

        Raises:
            PlanError: if the file is missing, is no plan, or holds a broken one.
        """
        from ._plan_file import load

        return load(Path(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.interventions, dict(self.meta))  # a mappingproxy cannot be copied

    def _map(self, change: Any) -> "Plan":
        return Plan(tuple(change(i) for i in self.interventions), self.meta)


def add(
    site: Site,
    vector: Float[Tensor, " d_model"],
    *,
    strength: float = 1.0,
    span: Span | str = ALL,
    keep_norm: bool = False,
) -> Plan:
    """A plan that adds `strength * vector` at a site (a copy; the caller's tensor stays).

    Raises:
        PlanError: NaN in the vector, wrong shape, unknown span, strength not finite.
    """
    return Plan((Intervention(site, Add(vector, keep_norm), as_span(span), strength),))


def ablate(
    site: Site,
    direction: Float[Tensor, " d_model"],
    *,
    strength: float = 1.0,
    span: Span | str = ALL,
) -> Plan:
    """A plan that removes a direction at a site (Arditi et al., https://arxiv.org/abs/2406.11717).

    Raises:
        PlanError: zero direction, NaN, wrong shape, unknown span, strength not finite.
    """
    return Plan((Intervention(site, Ablate(direction), as_span(span), strength),))
