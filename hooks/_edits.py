"""Every edit, by the name that it has in a saved plan."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ._edit import Edit
from ._edit_add import Add, Replace
from ._edit_affine import Affine
from ._edit_direction import Ablate, Clamp, Rotate
from ._edit_experts import ScaleExperts

EDITS: dict[str, type[Edit]] = {
    edit.name: edit for edit in (Ablate, Add, Affine, Clamp, Replace, Rotate, ScaleExperts)
}


def edit_of(name: str, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Edit:
    """The edit that has these `tensors` and `options`.

    Raises:
        KeyError, TypeError, PlanError: if there is no such edit, or it takes other ones.
    """
    if name == ScaleExperts.name:
        pairs = zip(tensors["experts"].tolist(), tensors["factors"].tolist(), strict=True)
        return ScaleExperts(dict(pairs))
    edit: Edit = EDITS[name](**tensors, **options)
    return edit
