"""Activations in a safetensors file that is filled batch by batch and mapped into memory.

While it is filled, the file is called `NAME.part` and a small file beside it says how far it has
come; at the end it gets its name. An interrupted recording goes on with the batch that it was at.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ._attached import attached
from ._errors import DataError
from ._model import Model
from ._progress import track
from ._readings import Pool, Tokenised, counts, readings
from ._sites import Site
from ._spans import Span
from ._whole import write_whole

_SIZE = {"F32": 4, "I64": 8}


class Recording(Mapping[Site, Any]):
    """States in a file, as `record` gives them; tensors are mapped, not read at once.

    Args:
        path: a file that `record(..., to=path)` wrote.

    Raises:
        DataError: if it is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with safe_open(self.path, framework="pt") as file:
                self.meta: dict[str, Any] = json.loads(file.metadata()["steer_recording"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"Recording: {path} is no recording ({error})") from error
        offsets = tensors.pop("offsets", None)
        self._sites = {Site.parse(name): states for name, states in tensors.items()}
        self._lengths = None if offsets is None else offsets.diff().tolist()

    def __getitem__(self, site: Site) -> Any:
        states = self._sites[site]
        return states if self._lengths is None else list(states.split(self._lengths))

    def __iter__(self) -> Iterator[Site]:
        return (Site.parse(name) for name in self.meta["sites"])

    def __len__(self) -> int:
        return len(self._sites)


def recorded(
    path: Path,
    model: Model,
    pairs: Sequence[Tokenised],
    groups: Sequence[Sequence[Tokenised]],
    sites: Sequence[Site],
    span: Span,
    pool: Pool,
    progress: bool,
) -> Recording:
    """Fill a file with the states of `pairs`, or go on with one that was interrupted.

    Raises:
        DataError: if the file, or its unfinished part, holds other states.
    """
    meta = described(model, pairs, groups, sites, span, pool)
    if path.exists():
        found = Recording(path)
        if found.meta != meta:
            raise DataError(f"record: {path} holds other states; name another file")
        return found
    part, notes = Path(f"{path}.part"), Path(f"{path}.progress.json")
    starts = _starts(model, pairs, span, pool)
    done = _done(part, notes, meta)
    if not done:
        _allocate(part, meta, sites, model, starts, pool)
    places: dict[Tokenised, list[int]] = {}
    for start, pair in zip(starts, pairs, strict=False):
        places.setdefault(pair, []).append(start)
    mapped = _mapped(part)
    passes = readings(model, groups[done:], sites, span)
    left = track(passes, "reading activations", total=len(groups) - done, show=progress)
    for n, reading in enumerate(left, start=done + 1):
        sizes = reading.mask.sum(1).tolist() if pool == "none" else [1] * len(reading.rows)
        for site in sites:
            states = torch.split(reading.pooled(site, pool).cpu(), sizes)
            for row, some in zip(reading.rows, states, strict=True):
                for place in places[row]:
                    mapped[str(site)][place : place + len(some)] = some
        write_whole(notes, json.dumps({"meta": meta, "done": n}).encode())
    del mapped
    part.rename(path)
    notes.unlink(missing_ok=True)
    return Recording(path)


def described(
    model: Model,
    pairs: Sequence[Tokenised],
    groups: Sequence[Sequence[Tokenised]],
    sites: Sequence[Site],
    span: Span,
    pool: Pool,
) -> dict[str, Any]:
    """What decides the states, as JSON values."""
    return {
        "model": model.name,
        "revision": model.revision,
        "dtype": str(model.dtype),
        "plans": list(attached(model.hf)),
        "rows": hashlib.sha256(json.dumps(pairs).encode()).hexdigest(),
        "batches": hashlib.sha256(json.dumps(groups).encode()).hexdigest(),
        "sites": [str(site) for site in sites],
        "span": str(span),
        "pool": pool,
    }


def _starts(model: Model, pairs: Sequence[Tokenised], span: Span, pool: Pool) -> list[int]:
    """Where each row begins in the file, and where the last one ends."""
    sizes = counts(model, pairs, span) if pool == "none" else [1] * len(pairs)
    return [0, *torch.tensor(sizes).cumsum(0).tolist()]


def _done(part: Path, notes: Path, meta: dict[str, Any]) -> int:
    """How many batches an unfinished file holds."""
    if not part.exists() or not notes.exists():
        return 0
    found = json.loads(notes.read_text(encoding="utf-8"))
    if found["meta"] != meta:
        raise DataError(
            f"record: {part} is an unfinished recording of other states; remove it, or name "
            "another file"
        )
    return int(found["done"])


def _allocate(
    part: Path,
    meta: dict[str, Any],
    sites: Sequence[Site],
    model: Model,
    starts: list[int],
    pool: Pool,
) -> None:
    """Make a file of the final size; what is not written yet takes no room on most disks."""
    shapes: dict[str, tuple[str, list[int]]] = {
        str(site): ("F32", [starts[-1], model.width(site) or 0]) for site in sites
    }
    if pool == "none":
        shapes["offsets"] = ("I64", [len(starts)])
    header: dict[str, Any] = {"__metadata__": {"steer_recording": json.dumps(meta)}}
    end = 0
    for name, (kind, shape) in sorted(shapes.items(), key=lambda item: -_SIZE[item[1][0]]):
        begin, end = end, end + _SIZE[kind] * int(torch.tensor(shape).prod())
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    if pool == "none":
        _mapped(part)["offsets"][:] = torch.tensor(starts)


def _mapped(part: Path) -> dict[str, Tensor]:
    """The tensors of a file, writable in place."""
    size = part.stat().st_size
    whole = torch.from_file(str(part), shared=True, size=size, dtype=torch.uint8)
    length = int.from_bytes(bytes(whole[:8].tolist()), "little")
    header = json.loads(bytes(whole[8 : 8 + length].tolist()))
    kinds = {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            tensors[name] = whole[begin:end].view(kinds[entry["dtype"]]).view(entry["shape"])
    return tensors
