"""Steer language models at inference time, and measure honestly what changed.

    >>> import steer                                                        # doctest: +SKIP
    >>> model = steer.load("smollm2")
    >>> plan = steer.grains(model, pairs, layers=[14])
    >>> with steer.attach(model, 1.5 * plan):
    ...     print(model.generate_text("Is it safe to crack your knuckles?"))

Names are imported when they are first used, so that `import steer` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._eval import Evaluation, Tuning, evaluate, sweep
    from ._load import load
    from ._methods import METHODS, extract
    from ._tasks import TASKS
    from ._zoo import ZOO, pull
    from .attribution import Pair, caa, grains, repe
    from .hooks import (
        ALL,
        GENERATED,
        IMAGE,
        LAST,
        PROMPT,
        TEXT,
        DataError,
        DownloadError,
        Model,
        ModelError,
        Moments,
        Plan,
        PlanError,
        Recording,
        RunError,
        Site,
        SiteError,
        SiteTable,
        Span,
        SteerError,
        TaskError,
        ablate,
        add,
        affine,
        after,
        any_of,
        attach,
        attn_out,
        capture,
        clamp,
        embed,
        final,
        first,
        heads,
        masked,
        mlp_out,
        moments,
        positions,
        prompts,
        record,
        replace,
        resid_post,
        resid_pre,
        rotate,
        router,
        scale_experts,
        sites,
    )

_HOME = {
    "._eval": ("Evaluation", "Tuning", "evaluate", "sweep"),
    "._load": ("load",),
    "._methods": ("METHODS", "extract"),
    "._tasks": ("TASKS",),
    "._zoo": ("ZOO", "pull"),
    ".attribution": ("Pair", "caa", "grains", "repe"),
    ".hooks": (
        "ALL",
        "GENERATED",
        "IMAGE",
        "LAST",
        "PROMPT",
        "TEXT",
        "DataError",
        "DownloadError",
        "Model",
        "ModelError",
        "Moments",
        "Plan",
        "PlanError",
        "Recording",
        "RunError",
        "Site",
        "SiteError",
        "SiteTable",
        "Span",
        "SteerError",
        "TaskError",
        "ablate",
        "add",
        "affine",
        "after",
        "any_of",
        "attach",
        "attn_out",
        "capture",
        "clamp",
        "embed",
        "final",
        "first",
        "heads",
        "masked",
        "mlp_out",
        "moments",
        "positions",
        "prompts",
        "record",
        "replace",
        "resid_post",
        "resid_pre",
        "rotate",
        "router",
        "scale_experts",
        "sites",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ALL",
    "GENERATED",
    "IMAGE",
    "LAST",
    "METHODS",
    "PROMPT",
    "TASKS",
    "TEXT",
    "ZOO",
    "DataError",
    "DownloadError",
    "Evaluation",
    "Model",
    "ModelError",
    "Moments",
    "Pair",
    "Plan",
    "PlanError",
    "Recording",
    "RunError",
    "Site",
    "SiteError",
    "SiteTable",
    "Span",
    "SteerError",
    "TaskError",
    "Tuning",
    "ablate",
    "add",
    "affine",
    "after",
    "any_of",
    "attach",
    "attn_out",
    "caa",
    "capture",
    "clamp",
    "embed",
    "evaluate",
    "extract",
    "final",
    "first",
    "grains",
    "heads",
    "load",
    "masked",
    "mlp_out",
    "moments",
    "positions",
    "prompts",
    "pull",
    "record",
    "repe",
    "replace",
    "resid_post",
    "resid_pre",
    "rotate",
    "router",
    "scale_experts",
    "sites",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'steer' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
