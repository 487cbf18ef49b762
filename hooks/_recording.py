"""Activations in a safetensors file that is filled batch by batch and mapped into memory.

While it is filled, the file is called `NAME.part` and a small file beside it says how far it has
come; at the end it gets its name. An interrupted recording goes on with the batch that it was at.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ._errors import DataError, SiteError
from ._mapped_file import allocate, mapped
from ._model import Model
from ._progress import track
from ._readings import Pool, Reading, Request, Tokenised, counts, readings
from ._sites import Site
from ._whole import write_whole


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


def recorded(path: Path, request: Request, progress: bool) -> Recording:
    """Fill a file with the states asked for, or go on with one that was interrupted.

    Raises:
        DataError: if the file, or its unfinished part, holds other states.
        SiteError: if the width of a site is not known.
    """
    meta, groups = request.described(), request.groups(unique=True)
    if path.exists():
        found = Recording(path)
        if found.meta != meta:
            raise DataError(f"record: {path} holds other states; name another file")
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    part, notes = Path(f"{path}.part"), Path(f"{path}.progress.json")
    sizes = counts(request) if request.pool == "none" else [1] * len(request.rows)
    starts = [0, *accumulate(sizes)]
    done = _done(part, notes, meta)
    if not done:
        notes.unlink(missing_ok=True)  # of a part that was removed
        _allocate(part, meta, request, starts)
    places: dict[Tokenised, list[int]] = {}
    for start, row in zip(starts, request.rows, strict=False):
        places.setdefault(row, []).append(start)
    file = _opened(part)
    passes = readings(request, groups[done:])
    left = track(passes, "reading activations", total=len(groups) - done, show=progress)
    for n, reading in enumerate(left, start=done + 1):
        for site in request.sites:
            _put(file[str(site)], reading, site, request.pool, places)
        write_whole(notes, json.dumps({"meta": meta, "done": n}).encode())
    del file
    part.rename(path)
    notes.unlink(missing_ok=True)
    return Recording(path)


def _put(
    into: Tensor, reading: Reading, site: Site, pool: Pool, places: dict[Tokenised, list[int]]
) -> None:
    """Write the states of one batch wherever their rows stand."""
    sizes = reading.mask.sum(1).tolist() if pool == "none" else [1] * len(reading.rows)
    states = torch.split(reading.pooled(site, pool).cpu(), sizes)
    for row, some in zip(reading.rows, states, strict=True):
        for place in places[row]:
            into[place : place + len(some)] = some


def _done(part: Path, notes: Path, meta: dict[str, Any]) -> int:
    """How many batches an unfinished file holds."""
    if not part.exists() or not notes.exists():
        return 0
    try:
        found = json.loads(notes.read_text(encoding="utf-8"))
        same = found["meta"] == meta
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"record: {notes} cannot be read ({error}); remove it") from error
    if not same:
        raise DataError(
            f"record: {part} is an unfinished recording of other states; remove it, or name "
            "another file"
        )
    return int(found["done"])


def _allocate(part: Path, meta: dict[str, Any], request: Request, starts: list[int]) -> None:
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        str(site): (torch.float32, (starts[-1], _width(request.model, site)))
        for site in request.sites
    }
    if request.pool == "none":
        shapes["offsets"] = (torch.int64, (len(starts),))
    allocate(part, shapes, {"steer_recording": json.dumps(meta)})
    if request.pool == "none":
        mapped(part)["offsets"][:] = torch.tensor(starts)


def _width(model: Model, site: Site) -> int:
    width = model.width(site)
    if width is None:
        raise SiteError(
            f"site {site}: its width is not known, since {model.name} could not be checked "
            f"({model.findings.unchecked}); record into memory, or another site"
        )
    return width


def _opened(part: Path) -> dict[str, Tensor]:
    """The tensors of an unfinished file.

    Raises:
        DataError: if it is broken.
    """
    try:
        Recording(part)
    except DataError as error:
        raise DataError(f"record: {part} is broken; remove it") from error
    return mapped(part)
