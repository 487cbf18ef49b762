"""Shows the sites of a model as a table: where each is, how wide, and what it means."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn

from ._model import Model, as_model
from ._sites import LAYER_KINDS, Site

_MEANS = {
    "embed": "input embeddings",
    "resid_pre": "residual stream before a layer",
    "heads": "attention heads side by side, before the output projection",
    "attn_out": "what attention adds to the residual stream",
    "router": "routing weights, one an expert",
    "mlp_out": "what the MLP adds to the residual stream",
    "resid_post": "residual stream after a layer",
    "final": "after the last norm, what the LM head reads",
}


@dataclass(frozen=True)
class SiteTable:
    """The sites of a model; `str` and `repr` show them as a table.

    Attributes:
        name: the model's name.
        rows: the kinds of site, from the embedding up.
        unchecked: why two tokens could not be run through the model to check them, or None.
    """

    name: str
    rows: tuple["SiteRow", ...]
    unchecked: str | None

    def __str__(self) -> str:
        table = Table(title=self.name, title_justify="left", box=SIMPLE_HEAD)
        for heading in ("site", "layers", "width", "module", "meaning"):
            table.add_column(heading, overflow="fold", no_wrap=heading == "module")
        for row in self.rows:
            width = "" if row.width is None else str(row.width)
            table.add_row(row.kind, row.layers, width, row.module, row.note or row.meaning)
        if self.unchecked:
            table.caption = f"not checked by a pass: {self.unchecked}"
        console = Console(width=120, no_color=True, force_terminal=False, markup=False, emoji=False)
        with console.capture() as text:
            console.print(table)
        return text.get().strip("\n")

    __repr__ = __str__


@dataclass(frozen=True)
class SiteRow:
    """One kind of site.

    Attributes:
        kind: its name.
        layers: the layers that have it, such as `0-29`; empty for `embed` and `final`.
        width: the last dimension of its tensor, where it is known.
        module: the path of the module in the model, with `{layer}` for the layer.
        meaning: what the tensor is.
        note: why it cannot be used, or an empty string.
    """

    kind: str
    layers: str
    width: int | None
    module: str
    meaning: str
    note: str = ""


def sites(model: Any) -> SiteTable:
    """The sites of a model, as a table.

    Args:
        model: a `Model`, or what `attach` takes.

    Example:
        >>> print(steer.sites(model))  # doctest: +SKIP
    """
    wrapped = as_model(model)
    found = list(wrapped.anatomy.sites())
    paths = {module: path for path, module in wrapped.hf.named_modules()}
    rows = (_row(wrapped, [s for s in found if s.kind == kind], kind, paths) for kind in _MEANS)
    return SiteTable(wrapped.name, tuple(rows), wrapped.findings.unchecked)


def _row(model: Model, found: list[Site], kind: str, paths: dict[nn.Module, str]) -> SiteRow:
    if not found:
        return SiteRow(kind, "none", None, "", _MEANS[kind], "not in this model")
    refused = model.findings.refused
    usable = [site for site in found if site not in refused]
    path = paths.get(model.anatomy.module(found[0]), "")
    if kind in LAYER_KINDS:
        path = _without_layer(path, found[0].layer)
    note = "" if usable else refused[found[0]]
    layers = _ranges([site.layer for site in usable if site.layer is not None])
    width = model.width(usable[0]) if usable else None
    return SiteRow(kind, layers, width, path, _MEANS[kind], note)


def _without_layer(path: str, layer: int | None) -> str:
    parts = path.split(".")
    if str(layer) in parts:
        parts[parts.index(str(layer))] = "{layer}"
    return ".".join(parts)


def _ranges(layers: list[int]) -> str:
    """`0-3, 5` for 0, 1, 2, 3 and 5."""
    return ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in _runs(sorted(layers)))


def _runs(layers: list[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for n, layer in enumerate(layers):
        if n == 0 or layer != layers[n - 1] + 1:
            begin = layer
        if n + 1 == len(layers) or layers[n + 1] != layer + 1:
            yield begin, layer
