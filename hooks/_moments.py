"""The mean and covariance of activations, gathered without holding them."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ._errors import DataError
from ._progress import track
from ._readings import Pool, Request, Row, readings
from ._sites import Site
from ._spans import ALL, Span
from ._whole import write_whole

_EVERY = 30.0
"""Seconds between writes of the file; a covariance may be large."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of vectors; `a + b` is that of both together.

    Attributes:
        count: how many vectors.
        mean: their mean, in float64.
        scatter: the sum of `(x - mean)(x - mean)^T`, in float64.
    """

    count: int
    mean: Float[Tensor, " d"]
    scatter: Float[Tensor, "d d"]

    @classmethod
    def of(cls, states: Float[Tensor, "n d"]) -> "Moments":
        """The moments of some vectors."""
        exact = states.double()
        mean = exact.mean(0)
        around = exact - mean
        return cls(len(states), mean, around.T @ around)

    def __add__(self, other: "Moments") -> "Moments":
        """Chan, Golub and LeVeque 1983, eq. 2.1: stable however far the means lie from 0."""
        count = self.count + other.count
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        between = torch.outer(step, step) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """The unbiased covariance; NaN for a single vector."""
        return self.scatter / (self.count - 1 if self.count > 1 else float("nan"))


@torch.no_grad()
def moments(
    model: Any,
    rows: Sequence[Row],
    sites: Site | Sequence[Site],
    *,
    span: Span | str = ALL,
    pool: Pool = "none",
    batch_tokens: int = 1024,
    progress: bool = False,
    to: str | Path | None = None,
) -> dict[Site, Moments]:
    """Gather the mean and covariance of activations; memory does not grow with the rows.

    A row that stands twice counts twice, and runs twice.

    Args:
        model: the model, steered or not; a `Model` or what `attach` takes.
        rows: as for `record`.
        sites: where to read.
        span: which tokens to read.
        pool: `none` counts every selected token; `last` and `mean` count one state a row.
        batch_tokens: tokens in a batch, padding included.
        progress: show a bar.
        to: a safetensors file that keeps what was gathered; if it was interrupted, the same call
            goes on where it stopped.

    Raises:
        DataError: no rows, an empty row, an unknown pool, a span that selects no token of a row, or
            a file that holds something else.
        SiteError: if the model has no such site.
    """
    request = Request.of("moments", model, rows, sites, span, pool, batch_tokens)
    meta, groups = request.described(), request.groups(unique=False)
    path = None if to is None else Path(to)
    done, total = (0, {}) if path is None or not path.exists() else _load(path, meta)
    passes = readings(request, groups[done:])
    left = track(passes, "reading activations", total=len(groups) - done, show=progress)
    saved = time.monotonic()
    try:
        for reading in left:
            new = {site: Moments.of(reading.pooled(site, pool).cpu()) for site in request.sites}
            more = {site: total[site] + new[site] if total else new[site] for site in request.sites}
            done, total = done + 1, more  # at once: an interruption must not part them
            if path is not None and time.monotonic() - saved > _EVERY:
                _save(path, meta, done, total)
                saved = time.monotonic()
    finally:
        if path is not None and total:
            _save(path, meta, done, total)
    return total


def _save(path: Path, meta: dict[str, Any], done: int, total: dict[Site, Moments]) -> None:
    tensors: dict[str, Tensor] = {}
    for site, found in total.items():
        tensors |= {f"{site}/mean": found.mean, f"{site}/scatter": found.scatter}
    counts = {str(site): found.count for site, found in total.items()}
    text = json.dumps({"meta": meta, "done": done, "counts": counts})
    write_whole(path, to_bytes(tensors, metadata={"steer_moments": text}))


def _load(path: Path, meta: dict[str, Any]) -> tuple[int, dict[Site, Moments]]:
    try:
        with safe_open(path, framework="pt") as file:
            held = json.loads(file.metadata()["steer_moments"])
            if held["meta"] != meta:
                raise DataError(f"moments: {path} holds other states; name another file")
            total = {
                Site.parse(name): Moments(
                    count, file.get_tensor(f"{name}/mean"), file.get_tensor(f"{name}/scatter")
                )
                for name, count in held["counts"].items()
            }
            return int(held["done"]), total
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"moments: {path} holds no moments ({error})") from error
