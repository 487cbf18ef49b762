"""The arms that a steered model stands beside: the model alone, and vectors that should do nothing.

Any perturbation of some size moves a metric a little, so a gain counts only above random vectors of
the same norm, and the flipped vector should not give it.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from steer.hooks import Plan, PlanError, edit_of

Arms = Mapping[str, Plan | None]
"""Plans by name; None is the unsteered model."""

RANDOMS = 5

_FIRST = 7_919_000  # away from the small seeds that a user's own random vector may come from


def randomised(plan: Plan, seed: int) -> Plan:
    """The plan with each vector replaced by a Gaussian one of the same norm.

    Raises:
        PlanError: if an edit has no vector, such as `scale_experts`.
    """
    generator = torch.Generator().manual_seed(seed)
    items = []
    for item in plan:
        tensors = item.edit.tensors
        if "vector" not in tensors:
            raise PlanError(f"evaluate: no random control is known for {item.edit.name}")
        noise = torch.randn(tensors["vector"].shape, generator=generator)
        vector = noise / noise.norm() * tensors["vector"].norm().cpu()
        edit = edit_of(item.edit.name, {"vector": vector}, item.edit.options)
        items.append(replace(item, edit=edit))
    return Plan(tuple(items), dict(plan.meta) | {"method": "random", "seed": seed})


def with_controls(plan: Plan, seed: int, randoms: int = RANDOMS) -> dict[str, Plan]:
    """The plan as `steered`, the `flipped` one, and the random ones, numbered from 0."""
    arms = {"steered": plan, "flipped": -plan}
    return arms | {
        f"random {n}": randomised(plan, _FIRST + seed * 1000 + n) for n in range(randoms)
    }
