"""Finds the decoder, its layers and their parts in a transformers model, by structure.

The search looks at what the modules are (the first list of blocks in the decoder, as long as the
configuration says; in a layer, a child whose class is an attention, an MLP or a norm), not at a
list of architectures. Whatever it cannot find, the user may name.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn
from transformers import PreTrainedModel

from . import _parts
from ._errors import ModelError, SiteError
from ._sites import LAYER_KINDS, MODEL_KINDS, Site

Places = Mapping[str, str]
"""Modules named by hand: `layers`, `embed` and `final` by their path in the model; `attn_out`,
`mlp_out`, `heads` (the output projection) and `router` by their path in a layer."""

_PARTS: dict[str, Callable[[nn.Module], nn.Module | None]] = {
    "attn_out": _parts.attn_out,
    "mlp_out": _parts.mlp_out,
    "heads": _parts.out_proj,
    "router": _parts.router,
}
_NORMS = ("norm", "ln_f", "norm_f", "final_layer_norm", "final_layernorm", "final_norm")
_DEPTHS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "num_layers")


@dataclass(frozen=True)
class Anatomy:
    """Where the sites of one model are.

    Attributes:
        decoder: the module that runs the layers; its forward receives the attention mask and cache.
        layers: the decoder layers.
        norm: the norm after the last layer; None if there is none.
        embedding: the token embedding.
        d_model: hidden size.
        places: modules that were named by hand.
    """

    decoder: nn.Module
    layers: nn.ModuleList
    norm: nn.Module | None
    embedding: nn.Module
    d_model: int
    places: Places = field(default_factory=dict)

    @classmethod
    def of(cls, hf: PreTrainedModel, places: Places | None = None) -> "Anatomy":
        """Find the parts of a model.

        Raises:
            ModelError: says which part was looked for, where, and what was there instead.
        """
        places = dict(places or {})
        _check_places(places)
        config = hf.config.get_text_config(decoder=True)
        if "layers" in places:
            decoder, layers = _named_layers(hf, places["layers"])
        else:
            decoder, layers = _find_layers(hf, config)
        _check_takes_tokens(hf, decoder)
        norm = _named(hf, places["final"], "final") if "final" in places else _last_norm(decoder)
        owner = hf.get_decoder() if hf.config.is_encoder_decoder else hf
        embedding = owner.get_input_embeddings()
        if "embed" in places:
            embedding = _named(hf, places["embed"], "embed")
        return cls(decoder, layers, norm, embedding, config.hidden_size, places)

    def check(self, site: Site) -> None:
        """Refuse a site that this model does not have.

        Raises:
            SiteError: layer out of range, or a part that the layer does not have as a module.
        """
        if site.layer is not None and site.layer >= len(self.layers):
            raise SiteError(
                f"site {site}: the model has {len(self.layers)} layers, "
                f"numbered 0 to {len(self.layers) - 1}"
            )
        self.module(site)

    def module(self, site: Site) -> nn.Module:
        """The module whose output is the tensor at `site` (its input, for `resid_pre` and `heads`).

        Raises:
            SiteError: if the model has no such module.
        """
        if site.kind == "embed":
            return self.embedding
        if site.kind == "final":
            return self._final()
        assert site.layer is not None
        layer = self.layers[site.layer]
        if site.kind in ("resid_pre", "resid_post"):
            return layer
        if site.kind in self.places:
            return _named(layer, self.places[site.kind], site.kind)
        part = _PARTS[site.kind](layer)
        if part is None:
            raise SiteError(
                f"site {site}: looked in {type(layer).__name__} for such a block, found "
                f'{_parts.described(layer)}; name it with places={{"{site.kind}": ...}}'
            )
        return part

    def sites(self) -> Iterator[Site]:
        """Every site that the model has, from the embedding up."""
        kinds = ("resid_pre", "heads", "attn_out", "router", "mlp_out", "resid_post")
        layered = (Site(kind, n) for n in range(len(self.layers)) for kind in kinds)
        for site in (Site("embed"), *layered, Site("final")):
            try:
                self.check(site)
            except SiteError:
                continue
            yield site

    def _final(self) -> nn.Module:
        if self.norm is None:
            raise SiteError(
                f"site final: looked for a norm after the layers in {type(self.decoder).__name__}, "
                f'found only {_parts.described(self.decoder)}; name it with places={{"final": ...}}'
            )
        return self.norm


def _check_places(places: Places) -> None:
    known = ("layers", *MODEL_KINDS, *_PARTS)
    for name in places:
        if name not in known:
            raise ModelError(f"places: unknown name {name!r}; expected {', '.join(known)}")


def _find_layers(hf: PreTrainedModel, config: object) -> tuple[nn.Module, nn.ModuleList]:
    """The outermost module that owns a list of as many blocks as the configuration says."""
    root = hf.get_decoder()
    depths = {getattr(config, name, None) for name in _DEPTHS}
    for owner in (root, hf):
        for module in owner.modules():
            for child in module.children():
                blocks = isinstance(child, nn.ModuleList) and all(_is_block(c) for c in child)
                if blocks and len(child) in depths:
                    return module, child
    raise ModelError(
        f"{type(hf).__name__}: looked for a ModuleList of {_depth(depths)} decoder layers "
        f"in {type(root).__name__}, found none; name it with "
        'places={"layers": "path.to.the.layers"}'
    )


def _is_block(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _depth(depths: set[object]) -> str:
    return " or ".join(sorted(str(depth) for depth in depths if isinstance(depth, int)))


def _named_layers(hf: PreTrainedModel, path: str) -> tuple[nn.Module, nn.ModuleList]:
    layers = _named(hf, path, "layers")
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(
            f'places: "layers" names {path!r}, a {type(layers).__name__}; expected a ModuleList'
        )
    owner, _, _ = path.rpartition(".")
    return hf.get_submodule(owner), layers


def _named(root: nn.Module, path: str, name: str) -> nn.Module:
    try:
        return root.get_submodule(path)
    except AttributeError as error:
        kind = SiteError if name in LAYER_KINDS else ModelError
        raise kind(
            f"places: {name!r} names {path!r}, but {type(root).__name__} has "
            f"{_parts.described(root)}"
        ) from error


def _check_takes_tokens(hf: PreTrainedModel, decoder: nn.Module) -> None:
    """An inner module that is given states (BERT) does not show where its tokens stand."""
    given = inspect.signature(type(decoder).forward).parameters
    if not {"input_ids", "inputs_embeds"} & given.keys():
        raise ModelError(
            f"{type(hf).__name__}: {type(decoder).__name__}, which holds the layers, takes neither "
            "input_ids nor inputs_embeds; only decoder language models can be steered"
        )


def _last_norm(decoder: nn.Module) -> nn.Module | None:
    """The norm after the layers, by its usual names, or else the last one."""
    norms = {n: child for n, child in decoder.named_children() if "Norm" in type(child).__name__}
    usual = (norms[name] for name in _NORMS if name in norms)
    return next(usual, [*norms.values()][-1] if norms else None)
