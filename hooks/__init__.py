"""The ground: models, sites, spans, edits, plans, attaching and recording; knows no method."""

from ._anatomy import Anatomy, Places
from ._attach import attach
from ._attached import spans_now
from ._batching import by_tokens
from ._capture import capture
from ._edit import Edit
from ._edit_add import Add, Replace
from ._edit_affine import Affine
from ._edit_direction import Ablate, Clamp, Rotate
from ._edit_experts import ScaleExperts
from ._edits import EDITS, edit_of
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
from ._moments import Moments, moments
from ._plan import Intervention, Plan
from ._plans import ablate, add, affine, clamp, replace, rotate, scale_experts
from ._progress import track
from ._prompts import prompts
from ._record import record
from ._recording import Recording
from ._site_table import SiteTable, sites
from ._sites import Site, attn_out, embed, final, heads, mlp_out, resid_post, resid_pre, router
from ._span_text import as_span
from ._spans import (
    ALL,
    GENERATED,
    IMAGE,
    LAST,
    PROMPT,
    TEXT,
    Span,
    after,
    any_of,
    first,
    masked,
    positions,
)
from ._tokens import Tokens
from ._whole import write_whole

__all__ = [
    "ALL",
    "EDITS",
    "GENERATED",
    "IMAGE",
    "LAST",
    "PROMPT",
    "TEXT",
    "Ablate",
    "Add",
    "Affine",
    "Anatomy",
    "Batch",
    "Clamp",
    "DataError",
    "DownloadError",
    "Edit",
    "Intervention",
    "Model",
    "ModelError",
    "Moments",
    "Places",
    "Plan",
    "PlanError",
    "Recording",
    "Replace",
    "Rotate",
    "RunError",
    "ScaleExperts",
    "Site",
    "SiteError",
    "SiteTable",
    "Span",
    "SteerError",
    "TaskError",
    "Tokens",
    "ablate",
    "add",
    "affine",
    "after",
    "any_of",
    "as_model",
    "as_span",
    "attach",
    "attn_out",
    "by_tokens",
    "capture",
    "clamp",
    "edit_of",
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
    "spans_now",
    "track",
    "write_whole",
]
