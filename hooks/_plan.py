"""Interventions as data: what to edit, where, on which tokens and how strongly.

A plan is immutable and knows no model; `attach` applies it to one.
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ._edit import Edit, Strength
from ._errors import PlanError
from ._sites import Site
from ._span_text import as_span
from ._spans import ALL, Span


@dataclass(frozen=True, eq=False)
class Intervention:
    """One edit at one site, on chosen tokens, with a strength.

    Args:
        site: where.
        edit: what.
        span: which tokens.
        strength: how much; 0 changes nothing. A tensor may require gradients; one with a value a
            row, `Float[Tensor, "rows"]`, gives each row of the batch its own.

    Raises:
        PlanError: if the strength is not finite, or the edit does not belong at the site.
    """

    site: Site
    edit: Edit
    span: Span = ALL
    strength: Strength = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.site, Site):
            raise PlanError(
                f"{self.edit.name}: expected a site such as resid_post(14), got {self.site!r}"
            )
        _check_strength(self.strength, self.site)
        if isinstance(self.strength, Tensor) and not self.strength.requires_grad:
            object.__setattr__(self, "strength", self.strength.clone())  # the caller's may change
        if (self.edit.name == "scale_experts") != (self.site.kind == "router"):
            raise PlanError(
                f"{self.edit.name} at {self.site}: routing weights are edited by scale_experts at "
                "a router(layer), and by nothing else"
            )

    def describe(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON values."""
        strength = self.strength
        return {
            "site": str(self.site),
            "edit": self.edit.name,
            "options": dict(self.edit.options),
            "span": str(self.span),
            "strength": strength.tolist() if isinstance(strength, Tensor) else float(strength),
        }

    @property
    def rows(self) -> int | None:
        """How many rows the strength is given for; None if it is for any number."""
        strength = self.strength
        return len(strength) if isinstance(strength, Tensor) and strength.dim() else None

    def row(self, r: int) -> "Intervention":
        """The intervention on one row."""
        if self.rows is None:
            return self
        assert isinstance(self.strength, Tensor)
        return replace(self, strength=_number(self.strength[r]))

    @property
    def does_nothing(self) -> bool:
        """Whether the strength is 0 and stays so."""
        strength = _number(self.strength)
        return not isinstance(strength, Tensor) and strength == 0


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
            f"{i.edit.name} {_shown(i.strength)} at {i.site} ({i.span})" for i in self
        )
        return f"Plan({self.meta.get('method', 'by hand')}: {places or 'nothing'})"

    def __add__(self, other: "Plan") -> "Plan":
        if not isinstance(other, Plan):
            return NotImplemented
        shared = {k: v for k, v in self.meta.items() if other.meta.get(k) == v and k != "method"}
        method = f"{self.meta.get('method', 'plan')} + {other.meta.get('method', 'plan')}"
        return Plan(self.interventions + other.interventions, shared | {"method": method})

    def __radd__(self, other: object) -> "Plan":
        return self if other == 0 else NotImplemented  # as `sum` begins

    def __sub__(self, other: "Plan") -> "Plan":
        return self + -other if isinstance(other, Plan) else NotImplemented

    def __truediv__(self, factor: float) -> "Plan":
        return self * (1 / factor)

    def __mul__(self, factor: Strength) -> "Plan":
        if isinstance(factor, bool) or not isinstance(factor, int | float | Tensor):
            return NotImplemented
        return self._map(lambda i: replace(i, strength=i.strength * factor))

    __rmul__ = __mul__

    def __neg__(self) -> "Plan":
        return self * -1.0

    def at(self, strength: Strength) -> "Plan":
        """The same plan with every strength set to `strength`."""
        return self._map(lambda i: replace(i, strength=strength))

    def on(self, span: Span | str) -> "Plan":
        """The same plan on other tokens."""
        return self._map(lambda i: replace(i, span=as_span(span)))

    def with_spans(self, change: Callable[[Span], Span]) -> "Plan":
        """The same plan with every span replaced by what `change` makes of it."""
        return self._map(lambda i: replace(i, span=change(i.span)))

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
        """The vector at each site, times its strength (copies).

        Raises:
            PlanError: if a site has several, or an intervention has no single vector and strength.
        """
        found: dict[Site, Tensor] = {}
        for item in self:
            vector = item.edit.tensors.get("vector")
            if vector is None or item.rows is not None or item.site in found:
                raise PlanError(f"Plan.vectors: no single vector at {item.site}; {self!r}")
            found[item.site] = item.strength * vector
        return found

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides what the plan does; `meta` does not."""
        digest = hashlib.sha256()
        for item in self.interventions:
            digest.update(json.dumps(item.describe(), sort_keys=True).encode())
            for tensor in (*item.edit.tensors.values(), *item.span.masks):
                data = tensor.detach().to("cpu", torch.float32).contiguous()
                digest.update(str(tuple(data.shape)).encode())
                digest.update(data.numpy().tobytes())
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


def _check_strength(strength: Strength, site: Site) -> None:
    if isinstance(strength, Tensor):
        if strength.dim() > 1 or not strength.numel() or not strength.is_floating_point():
            raise PlanError(
                f"strength at {site}: expected a number or floats of shape (rows,), got "
                f"{strength.dtype} of shape {tuple(strength.shape)}"
            )
        if not torch.isfinite(strength.detach()).all():
            raise PlanError(f"strength at {site}: expected finite numbers, got {strength.tolist()}")
        return
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise PlanError(f"strength at {site}: expected a number, got {type(strength).__name__}")
    if not math.isfinite(strength):
        raise PlanError(f"strength at {site}: expected a finite number, got {strength}")


def _number(strength: Strength) -> Strength:
    """The strength as a number, where nobody trains it and no device has to be asked."""
    if isinstance(strength, Tensor) and not strength.dim() and strength.device.type == "cpu":
        return strength if strength.requires_grad else float(strength)
    return strength


def _shown(strength: Strength) -> str:
    return str(strength.tolist()) if isinstance(strength, Tensor) else f"{strength:g}"
