"""The arms that a steered model stands beside: the model alone, and vectors that should do nothing.

Any perturbation of some size moves a metric a little, so a gain counts only above random vectors of
the same norm, and the flipped vector should not give it.
"""

from dataclasses import replace

import torch

from steer.hooks import Plan, PlanError, edit_of

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
            raise PlanError(
                f"evaluate: no random control is known for {item.edit.name}; leave the controls "
                "out (--no-controls)"
            )
        noise = torch.randn(tensors["vector"].shape, generator=generator)
        vector = noise / noise.norm() * tensors["vector"].norm().cpu()
        edit = edit_of(item.edit.name, {"vector": vector}, item.edit.options)
        items.append(replace(item, edit=edit))
    return Plan(tuple(items), dict(plan.meta) | {"method": "random", "seed": seed})


def with_controls(
    plan: Plan, seed: int, randoms: int, shuffled: Plan | None = None
) -> dict[str, Plan]:
    """The plan as `steered` among the vectors that should not do the same.

    Args:
        plan: the plan.
        seed: of the random vectors.
        randoms: how many of them.
        shuffled: what the same method made of the same pairs with their labels shuffled.
    """
    arms = {"steered": plan, "flipped": -plan}
    if shuffled is not None:
        arms["shuffled"] = shuffled
    return arms | {
        f"random {n}": randomised(plan, _FIRST + seed * 1000 + n) for n in range(randoms)
    }
