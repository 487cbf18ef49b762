"""Reads activations: only as far up the model as the highest site asked for, never the LM head."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from ._batching import by_tokens
from ._errors import DataError, SiteError
from ._model import Model, as_model
from ._progress import track
from ._prompts import prompts
from ._sites import Site
from ._spans import ALL, Span, as_span
from ._torch_hooks import Pass, register, watching

Pool = Literal["last", "mean", "none"]
Row = str | Sequence[int] | tuple[Sequence[int], Sequence[int]]
"""A text, its token ids, or the token ids of a prompt and of its continuation."""


Tokenised = tuple[tuple[int, ...], tuple[int, ...]]


class _Done(Exception):
    """Everything asked for has been read."""


def capture(
    model: Model, inputs: Mapping[str, Tensor], sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "batch seq d_model"]]:
    """Run one batch up to the last site needed and return the tensors there.

    Gradients flow if they are on; plans that are attached apply.

    Args:
        model: the model.
        inputs: keyword arguments of the model's forward, such as `input_ids` or `inputs_embeds`
            and `attention_mask`.
        sites: what to read.

    Raises:
        SiteError: if there are no sites, or the model has no such site.
    """
    if not sites:
        raise SiteError("capture: no sites given; name at least one, such as resid_post(14)")
    read: dict[Site, Tensor] = {}
    wanted = set(sites)

    def keep(site: Site, hidden: Tensor) -> Tensor:
        read[site] = hidden
        if len(read) == len(wanted):
            raise _Done
        return hidden

    with ExitStack() as stack:
        for site in wanted:
            model.anatomy.check(site)
            for handle in register(model, site, partial(keep, site), read=True):
                stack.callback(handle.remove)
        with suppress(_Done):
            model.hf(**inputs, use_cache=False)
    return {site: read[site] for site in sites}


@torch.no_grad()
def record(
    model: Model | PreTrainedModel,
    rows: Sequence[Row],
    sites: Site | Sequence[Site],
    *,
    span: Span | str = ALL,
    pool: Pool = "last",
    batch_tokens: int = 1024,
    progress: bool = False,
) -> dict[Site, Any]:
    """Read activations of many texts.

    Args:
        model: the model, steered or not.
        rows: texts, token ids, or pairs (prompt ids, continuation ids); with a pair the spans
            `prompt`, `generated` and `last` know where the continuation begins.
        sites: where to read.
        span: which tokens to read.
        pool: `last` keeps the last selected token, `mean` averages them, `none` keeps all.
        batch_tokens: tokens in a batch, padding included.
        progress: show a bar.

    Returns:
        For each site `Float[Tensor, "rows d_model"]` in float32 on the CPU, in the order of `rows`;
        with `pool="none"` a list of `Float[Tensor, "tokens d_model"]` instead.

    Raises:
        DataError: no rows, an empty row, an unknown pool, or a span that selects no token of a row.
        SiteError: if the model has no such site.
    """
    wrapped = as_model(model)
    wanted = [sites] if isinstance(sites, Site) else list(sites)
    span = as_span(span)
    if pool not in ("last", "mean", "none"):
        raise DataError(f"record: unknown pool {pool!r}; expected last, mean or none")
    pairs = [_tokens_of(wrapped, row) for row in rows]
    if not pairs:
        raise DataError("record: no rows given")
    unique = list(dict.fromkeys(pairs))
    found: dict[Site, dict[Tokenised, Tensor]] = {site: {} for site in wanted}
    groups = by_tokens([len(p) + len(c) for p, c in unique], batch_tokens)
    for group in track(groups, "reading activations", total=len(groups), show=progress):
        some = [unique[i] for i in group]
        read, mask = _read(wrapped, some, wanted, span)
        for site, hidden in read.items():
            found[site].update(zip(some, _pooled(hidden, mask, pool), strict=True))
    kept = {site: [states[pair] for pair in pairs] for site, states in found.items()}
    return {site: s if pool == "none" else torch.stack(s) for site, s in kept.items()}


def _tokens_of(model: Model, row: Row) -> Tokenised:
    if isinstance(row, str):
        return tuple(model.token_ids(row)), ()
    if isinstance(row, tuple) and row and not isinstance(row[0], int):
        prompt, continuation = row
        return tuple(prompt), tuple(continuation)
    return tuple(cast(Sequence[int], row)), ()


def _read(
    model: Model, pairs: Sequence[Tokenised], sites: Sequence[Site], span: Span
) -> tuple[dict[Site, Tensor], Bool[Tensor, "batch seq"]]:
    batch = model.batch([p + c for p, c in pairs], pad="right")
    state = Pass()
    with watching(model, state), prompts([len(p) for p, _ in pairs]):
        read = capture(model, batch, sites)
    mask = state.select(span).squeeze(-1)
    empty = (~mask.any(1)).nonzero().flatten().tolist()
    if empty:
        raise DataError(f"record: span {span} selects no token of {len(empty)} rows")
    return read, mask


def _pooled(
    hidden: Float[Tensor, "batch seq d"], mask: Bool[Tensor, "batch seq"], pool: Pool
) -> Iterator[Tensor]:
    for states, chosen in zip(hidden, mask.to(hidden.device), strict=True):
        kept = states[chosen].float().cpu()
        yield kept[-1] if pool == "last" else kept.mean(0) if pool == "mean" else kept
