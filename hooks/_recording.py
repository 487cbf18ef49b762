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
from torch import Tensor, nn

from ._attached import attached
from ._errors import DataError, SiteError
from ._mapped_file import allocate, mapped
from ._model import Model
from ._progress import track
from ._readings import Pool, Tokenised, counts, readings
from ._sites import Site
from ._spans import Span
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
        return (Site.parse(name) for name in dict.fromkeys(self.meta["sites"]))

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
    path.parent.mkdir(parents=True, exist_ok=True)
    part, notes = Path(f"{path}.part"), Path(f"{path}.progress.json")
    starts = _starts(model, pairs, span, pool)
    done = _done(part, notes, meta)
    if not done:
        notes.unlink(missing_ok=True)  # of a part that was removed
        _allocate(part, meta, sites, model, starts, pool)
    places: dict[Tokenised, list[int]] = {}
    for start, pair in zip(starts, pairs, strict=False):
        places.setdefault(pair, []).append(start)
    file = _opened(part)
    passes = readings(model, groups[done:], sites, span)
    left = track(passes, "reading activations", total=len(groups) - done, show=progress)
    for n, reading in enumerate(left, start=done + 1):
        sizes = reading.mask.sum(1).tolist() if pool == "none" else [1] * len(reading.rows)
        for site in sites:
            states = torch.split(reading.pooled(site, pool).cpu(), sizes)
            for row, some in zip(reading.rows, states, strict=True):
                for place in places[row]:
                    file[str(site)][place : place + len(some)] = some
        write_whole(notes, json.dumps({"meta": meta, "done": n}).encode())
    del file
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
        "weights": _weights(model.hf),
        "plans": list(attached(model.hf)),
        "rows": hashlib.sha256(json.dumps(pairs).encode()).hexdigest(),
        "batches": hashlib.sha256(json.dumps(groups).encode()).hexdigest(),
        "sites": [str(site) for site in sites],
        "span": str(span),
        "pool": pool,
    }


def _weights(hf: nn.Module) -> str:
    """A digest of some values of each weight: models in memory may share a name."""
    digest = hashlib.sha256()
    for name, weight in hf.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        if weight.device.type != "meta" and weight.numel():
            few = weight.detach().flatten()[:: max(1, weight.numel() // 16)]
            digest.update(few.cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _starts(model: Model, pairs: Sequence[Tokenised], span: Span, pool: Pool) -> list[int]:
    """Where each row begins in the file, and where the last one ends."""
    sizes = counts(model, pairs, span) if pool == "none" else [1] * len(pairs)
    return [0, *torch.tensor(sizes).cumsum(0).tolist()]


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


def _allocate(
    part: Path,
    meta: dict[str, Any],
    sites: Sequence[Site],
    model: Model,
    starts: list[int],
    pool: Pool,
) -> None:
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        str(site): (torch.float32, (starts[-1], _width(model, site))) for site in sites
    }
    if pool == "none":
        shapes["offsets"] = (torch.int64, (len(starts),))
    allocate(part, shapes, {"steer_recording": json.dumps(meta)})
    if pool == "none":
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
