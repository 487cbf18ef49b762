"""Applies plans to a model for as long as a `with` block lasts."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ._attached import noted
from ._bridge import bridged, is_bridge
from ._compiled import uncompiled
from ._edit_experts import ScaleExperts
from ._errors import PlanError
from ._model import Model, as_model
from ._plan import Plan
from ._program import spread
from ._sites import Site
from ._torch_hooks import hooked


@contextmanager
def attach(model: Any, plan: Plan | Sequence[Plan | None] | None) -> Iterator[Model]:
    """Steer a model: every forward pass and `generate` inside the block applies the plan.

    When the block ends, normally or by an exception, no hook is left and outputs are bit-identical
    to those before. Blocks nest: the outer plan is applied first.

    Args:
        model: a `Model`, or any transformers model (its dtype, devices and quantisation stay), also
            in `torch.compile` (which runs uncompiled inside the block), a `PeftModel`, a
            TransformerLens `TransformerBridge` or an nnsight `LanguageModel`.
        plan: what to do; None does nothing. A list has one plan, or None, for each row of the
            batch; a batch may be a multiple of it (beams, return sequences), the rows of an entry
            next to each other.

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
    plans = list(plan) if isinstance(plan, Sequence) else [plan]
    if not plans:
        raise PlanError("attach: expected a plan for each row, got an empty list")
    plans = spread([None if entry is None else _fitted(wrapped, entry) for entry in plans])
    if not any(plans):
        yield wrapped
        return
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        if is_bridge(wrapped.given):
            stack.enter_context(bridged(wrapped.given, wrapped.anatomy))
        stack.enter_context(hooked(wrapped, plans))
        stack.enter_context(noted(wrapped.hf, plans))
        yield wrapped


def _fitted(model: Model, plan: Plan) -> Plan:
    """The plan with its spans ready for this model.

    Raises:
        PlanError: if it is no plan, or does not fit.
    """
    if not isinstance(plan, Plan):
        raise PlanError(f"attach: expected a Plan or None, got {type(plan).__name__}")
    for item in plan:
        model.check(item.site)
        expected, size = model.width(item.site), item.edit.width
        if expected is not None and size is not None and size != expected:
            made = plan.meta.get("model")
            raise PlanError(
                f"attach: the plan edits a hidden size of {size}"
                f"{f' (made for {made})' if made else ''}, but {model.name} has {expected} at "
                f"{item.site}; extract a plan from this model"
            )
        if isinstance(item.edit, ScaleExperts) and expected is not None:
            _check_experts(item.edit, expected, model, item.site)
    return plan.with_spans(model.resolved)


def _check_experts(edit: ScaleExperts, experts: int, model: Model, site: Site) -> None:
    if max(edit.factors) >= experts:
        raise PlanError(
            f"attach: scale_experts at {site} names expert {max(edit.factors)}, but {model.name} "
            f"has {experts} experts there, numbered 0 to {experts - 1}"
        )
