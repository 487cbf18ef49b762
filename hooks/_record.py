"""Reads activations of many texts, into memory or into a file that may be larger than it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._progress import track
from ._readings import Pool, Reading, Request, Row, Tokenised, readings
from ._recording import recorded
from ._sites import Site
from ._spans import ALL, Span


@torch.no_grad()
def record(
    model: Any,
    rows: Sequence[Row],
    sites: Site | Sequence[Site],
    *,
    span: Span | str = ALL,
    pool: Pool = "last",
    batch_tokens: int = 1024,
    progress: bool = False,
    to: str | Path | None = None,
) -> Mapping[Site, Any]:
    """Read activations of many texts.

    The model runs only as far as the highest site, never its LM head, and a row that stands twice
    runs once.

    Args:
        model: the model, steered or not; a `Model` or what `attach` takes.
        rows: texts, token ids, or pairs (prompt ids, continuation ids); with a pair the spans
            `prompt`, `generated` and `last` know where the continuation begins.
        sites: where to read.
        span: which tokens to read.
        pool: `last` keeps the last selected token, `mean` averages them, `none` keeps all.
        batch_tokens: tokens in a batch, padding included.
        progress: show a bar.
        to: a safetensors file to write the states to, batch by batch, instead of holding them; if
            it was interrupted, the same call goes on where it stopped.

    Returns:
        For each site `Float[Tensor, "rows d"]` in float32 on the CPU, in the order of `rows`; with
        `pool="none"` a list of `Float[Tensor, "tokens d"]` instead. With `to` the tensors are
        mapped from the file, and read from it when they are used.

    Raises:
        DataError: no rows, an empty row, an unknown pool, a span that selects no token of a row, or
            a file that holds something else.
        SiteError: if the model has no such site.
    """
    request = Request.of("record", model, rows, sites, span, pool, batch_tokens)
    groups = request.groups(unique=True)
    if to is not None:
        return recorded(Path(to), request, progress)
    found: dict[Site, dict[Tokenised, Tensor]] = {site: {} for site in request.sites}
    passes = readings(request, groups)
    for reading in track(passes, "reading activations", total=len(groups), show=progress):
        for site in request.sites:
            found[site].update(zip(reading.rows, _per_row(reading, site, pool), strict=True))
    kept = {site: [states[row] for row in request.rows] for site, states in found.items()}
    return {site: s if pool == "none" else torch.stack(s) for site, s in kept.items()}


def _per_row(reading: Reading, site: Site, pool: Pool) -> Sequence[Tensor]:
    states = reading.pooled(site, pool).cpu()
    if pool != "none":
        return list(states)
    parts: Sequence[Tensor] = torch.split(states, reading.mask.sum(1).tolist())
    return parts
