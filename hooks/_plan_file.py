"""Plans on disk: one safetensors file, the vectors as tensors and the rest as JSON metadata."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ._edits import EDITS
from ._errors import PlanError, SiteError
from ._plan import Intervention, Plan
from ._sites import Site
from ._spans import Span
from ._whole import write_whole

_FORMAT = 1
_BROKEN = (SafetensorError, SiteError, KeyError, TypeError, AttributeError, json.JSONDecodeError)


def save(plan: Plan, path: Path) -> None:
    """Write `plan`, by way of a temporary file beside it."""
    header = {
        "format": _FORMAT,
        "interventions": [item.describe() for item in plan],
        "meta": dict(plan.meta),
    }
    try:
        text = json.dumps(header)
    except (TypeError, ValueError) as error:
        raise PlanError(f"Plan.save: meta is not JSON ({error})") from error
    # Clones, as safetensors refuses the shared memory of `plan + plan`.
    tensors = {f"{n}": i.edit.vector.detach().cpu().clone() for n, i in enumerate(plan)}
    data = to_bytes(tensors, metadata={"steer": text})
    try:
        write_whole(path, data)
    except OSError as error:
        raise PlanError(f"Plan.save: cannot write {path}: {error.strerror or error}") from error


def load(path: Path) -> Plan:
    """Read a plan."""
    if not path.is_file():
        raise PlanError(f"Plan.load: no file {path}; `steer extract` makes one")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["steer"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format"] > _FORMAT:
            raise PlanError(
                f"Plan.load: {path} has format {header['format']}, this version reads {_FORMAT}; "
                "upgrade steer"
            )
        items = tuple(
            _intervention(entry, tensors[f"{n}"]) for n, entry in enumerate(header["interventions"])
        )
        return Plan(items, header["meta"])
    except _BROKEN as error:
        raise PlanError(
            f"Plan.load: {path} is not a plan of steer ({type(error).__name__}: {error})"
        ) from error


def _intervention(entry: dict[str, Any], vector: Tensor) -> Intervention:
    if entry["edit"] not in EDITS:
        raise PlanError(f"Plan.load: unknown edit {entry['edit']!r}; expected {', '.join(EDITS)}")
    edit = EDITS[entry["edit"]](vector, **entry["options"])
    return Intervention(Site.parse(entry["site"]), edit, Span(entry["span"]), entry["strength"])
