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
    from ._eval import Evaluation, Tuning, evaluate
    from ._load import load
    from ._methods import METHODS, extract
    from ._zoo import ZOO, pull
    from .attribution import Pair, caa, grains, repe
    from .hooks import (
        DataError,
        DownloadError,
        Model,
        ModelError,
        Plan,
        PlanError,
        RunError,
        Site,
        SiteError,
        Span,
        SteerError,
        TaskError,
        ablate,
        add,
        attach,
        attn_out,
        embed,
        final,
        mlp_out,
        prompts,
        record,
        resid_post,
        resid_pre,
    )

_HOME = {
    "._eval": ("Evaluation", "Tuning", "evaluate"),
    "._load": ("load",),
    "._methods": ("METHODS", "extract"),
    "._zoo": ("ZOO", "pull"),
    ".attribution": ("Pair", "caa", "grains", "repe"),
    ".hooks": (
        "DataError",
        "DownloadError",
        "Model",
        "ModelError",
        "Plan",
        "PlanError",
        "RunError",
        "Site",
        "SiteError",
        "Span",
        "SteerError",
        "TaskError",
        "ablate",
        "add",
        "attach",
        "attn_out",
        "embed",
        "final",
        "mlp_out",
        "prompts",
        "record",
        "resid_post",
        "resid_pre",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "METHODS",
    "ZOO",
    "DataError",
    "DownloadError",
    "Evaluation",
    "Model",
    "ModelError",
    "Pair",
    "Plan",
    "PlanError",
    "RunError",
    "Site",
    "SiteError",
    "Span",
    "SteerError",
    "TaskError",
    "Tuning",
    "ablate",
    "add",
    "attach",
    "attn_out",
    "caa",
    "embed",
    "evaluate",
    "extract",
    "final",
    "grains",
    "load",
    "mlp_out",
    "prompts",
    "pull",
    "record",
    "repe",
    "resid_post",
    "resid_pre",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'steer' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
