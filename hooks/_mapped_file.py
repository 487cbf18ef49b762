"""A safetensors file of known shapes that is made first and filled in place."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]

_NAMES = {torch.float32: "F32", torch.int64: "I64"}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def allocate(path: Path, shapes: Shapes, metadata: dict[str, str]) -> None:
    """Make the file at its final size; what is not written yet takes no room on most disks."""
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    # Wider types first, so that every tensor is aligned.
    for name, (dtype, shape) in sorted(shapes.items(), key=lambda item: -item[1][0].itemsize):
        begin, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of the file; what is written to them is written to it."""
    size = path.stat().st_size
    whole = torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)
    length = int.from_bytes(bytes(whole[:8].tolist()), "little")
    header = json.loads(bytes(whole[8 : 8 + length].tolist()))
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            tensors[name] = whole[begin:end].view(_DTYPES[entry["dtype"]]).view(entry["shape"])
    return tensors
