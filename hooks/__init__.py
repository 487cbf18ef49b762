"""The ground: models, sites, spans, edits, plans, attaching and recording; knows no method."""

from ._anatomy import Anatomy
from ._attach import attach
from ._batching import by_tokens
from ._edits import Ablate, Add, Edit
from ._errors import (
    DataError,
    DownloadError,
    ModelError,
    PlanError,
    RunError,
    SiteError,
    SteerError,
    TaskError,
)
from ._model import Batch, Model, as_model
from ._plan import Intervention, Plan, ablate, add
from ._progress import track
from ._prompts import prompts
from ._record import capture, record
from ._sites import Site, attn_out, embed, final, mlp_out, resid_post, resid_pre
from ._spans import ALL, GENERATED, LAST, PROMPT, Span
from ._tokens import Tokens
from ._whole import write_whole

__all__ = [
    "ALL",
    "GENERATED",
    "LAST",
    "PROMPT",
    "Ablate",
    "Add",
    "Anatomy",
    "Batch",
    "DataError",
    "DownloadError",
    "Edit",
    "Intervention",
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
    "Tokens",
    "ablate",
    "add",
    "as_model",
    "attach",
    "attn_out",
    "by_tokens",
    "capture",
    "embed",
    "final",
    "mlp_out",
    "prompts",
    "record",
    "resid_post",
    "resid_pre",
    "track",
    "write_whole",
]
