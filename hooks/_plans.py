"""One function an edit: each makes a plan with a single intervention."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from ._edit import Edit, Strength
from ._edit_add import Add, Replace
from ._edit_affine import Affine
from ._edit_direction import Ablate, Clamp, Rotate
from ._edit_experts import ScaleExperts
from ._plan import Intervention, Plan
from ._sites import Site
from ._span_text import as_span
from ._spans import ALL, Span

Vector = Float[Tensor, " d"]


def add(
    site: Site,
    vector: Vector,
    *,
    strength: Strength = 1.0,
    span: Span | str = ALL,
    keep_norm: bool = False,
) -> Plan:
    """A plan that adds `strength * vector` at a site.

    The vector is copied, unless it requires gradients: one that is trained is used as it is when a
    pass begins. At `heads(layer)` the heads stand side by side: flatten what has a row for each.

    Raises:
        PlanError: NaN in the vector, wrong shape, unknown span, strength not finite.
    """
    return _plan(site, Add(vector, keep_norm), strength, span)


def ablate(
    site: Site, direction: Vector, *, strength: Strength = 1.0, span: Span | str = ALL
) -> Plan:
    """A plan that removes a direction at a site (Arditi et al., https://arxiv.org/abs/2406.11717).

    Raises:
        PlanError: zero direction, NaN, wrong shape, unknown span, strength not finite.
    """
    return _plan(site, Ablate(direction), strength, span)


def affine(
    site: Site,
    read: Float[Tensor, "rank d"],
    write: Float[Tensor, "rank d"],
    bias: Vector | None = None,
    *,
    strength: Strength = 1.0,
    span: Span | str = ALL,
) -> Plan:
    """A plan that adds `strength * (write^T (read h) + bias)` to the states at a site.

    Raises:
        PlanError: NaN, shapes that differ, unknown span, strength not finite.
    """
    return _plan(site, Affine(read, write, bias), strength, span)


def clamp(
    site: Site,
    direction: Vector,
    low: float | None = None,
    high: float | None = None,
    *,
    strength: Strength = 1.0,
    span: Span | str = ALL,
) -> Plan:
    """A plan that keeps the projection on a direction between `low` and `high`.

    With `low == high` the projection is set to that value.

    Raises:
        PlanError: no bound, bounds that cross, zero direction, unknown span, strength not finite.
    """
    return _plan(site, Clamp(direction, low, high), strength, span)


def replace(
    site: Site, vector: Vector, *, strength: Strength = 1.0, span: Span | str = ALL
) -> Plan:
    """A plan that puts a vector in place of the states at a site.

    Raises:
        PlanError: NaN, wrong shape, unknown span, strength not finite.
    """
    return _plan(site, Replace(vector), strength, span)


def rotate(
    site: Site,
    direction: Vector,
    degrees: float,
    *,
    strength: Strength = 1.0,
    span: Span | str = ALL,
) -> Plan:
    """A plan that turns the states towards a direction by an angle and keeps their norm.

    Raises:
        PlanError: zero direction, angle or strength not finite, unknown span.
    """
    return _plan(site, Rotate(direction, degrees), strength, span)


def scale_experts(
    site: Site,
    factors: Mapping[int, float],
    *,
    strength: Strength = 1.0,
    span: Span | str = ALL,
) -> Plan:
    """A plan that multiplies the routing weights of experts, at a `router(layer)`.

    Raises:
        PlanError: no experts, a bad index or factor, another site, unknown span.
    """
    return _plan(site, ScaleExperts(dict(factors)), strength, span)


def _plan(site: Site, edit: Edit, strength: Strength, span: Span | str) -> Plan:
    return Plan((Intervention(site, edit, as_span(span), strength),))
