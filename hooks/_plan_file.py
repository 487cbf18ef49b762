"""Plans on disk: one safetensors file, the vectors as tensors and the rest as JSON metadata."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ._edits import EDITS, edit_of
from ._errors import PlanError, SiteError
from ._plan import Intervention, Plan
from ._sites import Site
from ._span_text import as_span
from ._whole import write_whole

_FORMAT = 2
_BROKEN = (SafetensorError, SiteError, KeyError, TypeError, AttributeError, json.JSONDecodeError)


def save(plan: Plan, path: Path) -> None:
    """Write `plan`, by way of a temporary file beside it."""
    if any(item.span.masks for item in plan):
        raise PlanError(
            "Plan.save: a mask belongs to one batch and is not saved; put the plan on another span"
        )
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
    tensors = {
        f"{n}.{name}": tensor.detach().cpu().clone()
        for n, item in enumerate(plan)
        for name, tensor in item.edit.tensors.items()
    }
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
        if header["format"] != _FORMAT:
            raise PlanError(
                f"Plan.load: {path} has format {header['format']}, this version reads {_FORMAT}; "
                "upgrade steer, or extract the plan again"
            )
        items = tuple(
            _intervention(entry, _own(tensors, n))
            for n, entry in enumerate(header["interventions"])
        )
        return Plan(items, header["meta"])
    except _BROKEN as error:
        raise PlanError(
            f"Plan.load: {path} is not a plan of steer ({type(error).__name__}: {error})"
        ) from error


def _own(tensors: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    prefix = f"{n}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _intervention(entry: dict[str, Any], tensors: dict[str, Tensor]) -> Intervention:
    if entry["edit"] not in EDITS:
        raise PlanError(f"Plan.load: unknown edit {entry['edit']!r}; expected {', '.join(EDITS)}")
    edit = edit_of(entry["edit"], tensors, entry["options"])
    strength = entry["strength"]
    if isinstance(strength, list):
        strength = torch.tensor(strength, dtype=torch.float64)
    return Intervention(Site.parse(entry["site"]), edit, as_span(entry["span"]), strength)
