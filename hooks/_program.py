"""Turns the plans of a batch into what each site has to do; knows no model.

All rows of a batch are edited together: the interventions that stand at one site in the same turn
and do the same kind of edit become one step, whose parameters have a row axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import torch
from torch import Tensor

from ._edit import Bound
from ._errors import PlanError
from ._plan import Intervention, Plan
from ._sites import Site
from ._spans import Span


@dataclass(frozen=True, eq=False)
class Step:
    """One edit at one site on all rows.

    Attributes:
        items: the intervention on each row, None where it has none; a single one is for all rows.
    """

    items: tuple[Intervention | None, ...]

    @property
    def spans(self) -> tuple[Span | None, ...]:
        """The tokens of each row."""
        return tuple(None if item is None else item.span for item in self.items)

    @cached_property
    def trains(self) -> bool:
        """Whether gradients are wanted for its parameters, so that each pass needs a new graph."""
        tensors = [t for item in self.items if item for t in (*item.edit.tensors.values(),)]
        tensors += [i.strength for i in self.items if i and isinstance(i.strength, Tensor)]
        return any(tensor.requires_grad for tensor in tensors)

    def bind(self, like: Tensor) -> Bound:
        """The step as a function, ready for tensors of the device and dtype of `like`."""
        some = next(item for item in self.items if item)
        filled = [item or some for item in self.items]  # rows without one are never chosen
        with torch.inference_mode(False):  # or a later pass could not be differentiated
            return type(some.edit).bind(
                [item.edit for item in filled], [item.strength for item in filled], like
            )


def program(plans: Sequence[Plan | None]) -> dict[Site, list[Step]]:
    """The steps at each site, in order.

    Args:
        plans: one for each row of the batch (or rows next to each other), or one for all.

    Raises:
        PlanError: if a plan has a strength for each row of another number of rows.
    """
    rows = [[item for item in plan or () if not item.does_nothing] for plan in spread(plans)]
    sites = dict.fromkeys(item.site for row in rows for item in row)
    return {site: _steps([[i for i in row if i.site == site] for row in rows]) for site in sites}


def spread(plans: Sequence[Plan | None]) -> list[Plan | None]:
    """The plan of each row, where one plan has a strength for each row."""
    sizes = {item.rows for plan in plans for item in plan or () if item.rows is not None}
    if not sizes:
        return list(plans)
    if len(plans) > 1 or len(sizes) > 1:
        raise PlanError(
            f"attach: strengths for {', '.join(map(str, sorted(sizes)))} rows in {len(plans)} "
            "plans; give one plan whose strengths are for as many rows, or one plan a row"
        )
    (plan,), (size,) = plans, sizes
    assert plan is not None
    return [Plan(tuple(item.row(r) for item in plan)) for r in range(size)]


def _steps(rows: list[list[Intervention]]) -> list[Step]:
    steps = []
    for turn in zip_longest(*rows):
        kinds = dict.fromkeys(_kind(item) for item in turn if item)
        for kind in kinds:
            items = (item if item and _kind(item) == kind else None for item in turn)
            steps.append(Step(tuple(items)))
    return steps


def _kind(item: Intervention) -> tuple[object, ...]:
    """What edits must share to be one step."""
    return (item.edit.name, *sorted(item.edit.options.items()))
