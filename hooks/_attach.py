"""Applies plans to a model for as long as a `with` block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from ._errors import PlanError
from ._model import Model, as_model
from ._plan import Plan
from ._torch_hooks import hooked


@contextmanager
def attach(model: Model | PreTrainedModel, plan: Plan | None) -> Iterator[Model]:
    """Steer a model: every forward pass and `generate` inside the block applies the plan.

    When the block ends, normally or by an exception, no hook is left and outputs are bit-identical
    to those before. Blocks nest: the outer plan is applied first.

    Args:
        model: a `Model`, or any transformers model (its dtype, devices and quantisation stay).
        plan: what to do; None does nothing.

    Yields:
        The steered model.

    Raises:
        PlanError: if the plan is of another hidden size.
        SiteError: if the model has no such layer or block.

    Example:
        >>> with steer.attach(model, 1.5 * plan):  # doctest: +SKIP
        ...     print(model.generate_text("Is it safe to crack your knuckles?"))
    """
    wrapped = as_model(model)
    if plan is None:
        yield wrapped
        return
    _check_fit(wrapped, plan)
    with hooked(wrapped, plan):
        yield wrapped


def _check_fit(model: Model, plan: Plan) -> None:
    if not isinstance(plan, Plan):
        raise PlanError(f"attach: expected a Plan or None, got {type(plan).__name__}")
    for item in plan:
        model.anatomy.check(item.site)
        size = item.edit.vector.shape[0]
        if size != model.d_model:
            made = plan.meta.get("model")
            raise PlanError(
                f"attach: the plan edits a hidden size of {size}"
                f"{f' (made for {made})' if made else ''}, but {model.name} has {model.d_model}; "
                "extract a plan from this model"
            )
