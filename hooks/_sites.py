"""Named places in a model where a tensor can be read or edited; knows no model.

A site is written `kind(layer)` in Python and `kind.layer` in files: `resid_post(14)` is
`resid_post.14`. Layers count from 0.
"""

from contextlib import suppress
from dataclasses import dataclass
from operator import index
from typing import Literal, get_args

from ._errors import SiteError

LayerKind = Literal["resid_pre", "resid_post", "attn_out", "mlp_out", "heads", "router"]
ModelKind = Literal["embed", "final"]

LAYER_KINDS: tuple[str, ...] = get_args(LayerKind)
MODEL_KINDS: tuple[str, ...] = get_args(ModelKind)


@dataclass(frozen=True, order=True)
class Site:
    """A named place in any supported model.

    Its tensor is `Float[Tensor, "batch seq d_model"]`; at `heads` the last dimension is that of all
    heads together, at `router` the number of experts.

    Args:
        kind: one of `resid_pre`, `resid_post`, `attn_out`, `mlp_out`, `heads`, `router` (in a
            layer), `embed`, `final` (once in the model).
        layer: the layer's index from 0; None for `embed` and `final`.

    Raises:
        SiteError: unknown kind, or a layer where none belongs, or none where one does.
    """

    kind: str
    layer: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in LAYER_KINDS + MODEL_KINDS:
            raise SiteError(
                f"Site: unknown kind {self.kind!r}; expected one of "
                f"{', '.join(LAYER_KINDS + MODEL_KINDS)}"
            )
        if self.kind in MODEL_KINDS and self.layer is not None:
            raise SiteError(f"Site: {self.kind!r} is not inside a layer; drop layer={self.layer}")
        if self.layer is not None and type(self.layer) not in (int, bool):
            with suppress(TypeError):  # numpy's integers become ints, the rest is refused below
                object.__setattr__(self, "layer", index(self.layer))
        if self.kind in LAYER_KINDS and (
            isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0
        ):
            raise SiteError(
                f"Site: {self.kind!r} needs a layer index from 0, got {self.layer!r}; "
                f"write {self.kind}(14), for example"
            )

    def __str__(self) -> str:
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read the written form, `resid_post.14` or `final`.

        Raises:
            SiteError: if `text` is not a site.
        """
        kind, _, layer = text.partition(".")
        if layer and not layer.isdecimal():
            raise SiteError(f"Site: cannot read {text!r}; write 'resid_post.14' or 'final'")
        return cls(kind, int(layer) if layer else None)


def resid_pre(layer: int) -> Site:
    """The residual stream that enters layer `layer`."""
    return Site("resid_pre", layer)


def resid_post(layer: int) -> Site:
    """The residual stream that leaves layer `layer`."""
    return Site("resid_post", layer)


def attn_out(layer: int) -> Site:
    """What the attention block of layer `layer` adds to the residual stream."""
    return Site("attn_out", layer)


def mlp_out(layer: int) -> Site:
    """What the MLP block of layer `layer` adds to the residual stream."""
    return Site("mlp_out", layer)


def heads(layer: int) -> Site:
    """What the attention heads of layer `layer` give to the output projection, side by side.

    `states.unflatten(-1, (n_heads, d_head))` separates them.
    """
    return Site("heads", layer)


def router(layer: int) -> Site:
    """The routing weights of layer `layer`, one for each expert; 0 where it is not chosen."""
    return Site("router", layer)


embed = Site("embed")
"""The input embeddings that the decoder receives (image patches merged in, where there are any)."""

final = Site("final")
"""The states after the last norm, which the LM head reads."""
