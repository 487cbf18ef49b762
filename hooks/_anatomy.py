"""Finds the decoder, its layers and their parts in a transformers model, by structure.

The search looks at what the modules are (a `ModuleList` as long as the configuration says, a child
whose class is an attention, an MLP or a norm), not at a list of architectures.
"""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from ._errors import ModelError, SiteError
from ._sites import LAYER_KINDS, Site

_MLP_CLASSES = (
    "MLP",
    "FeedForward",
    "MoE",
    "Moe",
    "MixtureOfExperts",
    "DenseReluDense",
)


@dataclass(frozen=True)
class Anatomy:
    """Where the sites of one model are.

    Attributes:
        decoder: the module that runs the layers; its forward receives the attention mask and cache.
        layers: the decoder layers.
        norm: the norm after the last layer.
        embedding: the token embedding.
        d_model: hidden size.
    """

    decoder: nn.Module
    layers: nn.ModuleList
    norm: nn.Module
    embedding: nn.Module
    d_model: int

    @classmethod
    def of(cls, hf: PreTrainedModel) -> "Anatomy":
        """Find the parts of a model.

        Raises:
            ModelError: says which part was looked for, where, and what was there instead.
        """
        config = hf.config.get_text_config(decoder=True)
        depth = config.num_hidden_layers
        decoder, layers = _find_layers(hf, depth)
        norms = [child for child in decoder.children() if "Norm" in type(child).__name__]
        if not norms:
            raise ModelError(
                f"{_name(hf)}: looked for a norm after the layers in {_name(decoder)}, found only "
                f"{', '.join(_name(child) for child in decoder.children())}"
            )
        return cls(decoder, layers, norms[-1], hf.get_input_embeddings(), config.hidden_size)

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
        """The module whose output is the tensor at `site` (its input, for `resid_pre`).

        Raises:
            SiteError: if the layer has no such module.
        """
        if site.kind not in LAYER_KINDS:
            return self.embedding if site.kind == "embed" else self.norm
        assert site.layer is not None
        layer = self.layers[site.layer]
        if site.kind in ("resid_pre", "resid_post"):
            return layer
        part = _attention(layer) if site.kind == "attn_out" else _mlp(layer)
        if part is None:
            raise SiteError(
                f"site {site}: looked in {_name(layer)} for such a block, found "
                f"{', '.join(f'{n} ({_name(c)})' for n, c in layer.named_children())}"
            )
        return part


def _find_layers(hf: PreTrainedModel, depth: int) -> tuple[nn.Module, nn.ModuleList]:
    """The deepest module that owns a list of `depth` alike blocks, within the language model."""
    root = hf.get_decoder()
    for owner in (root, hf):
        for module in owner.modules():
            for child in module.children():
                alike = isinstance(child, nn.ModuleList) and len({type(c) for c in child}) == 1
                if alike and len(child) == depth and next(child[0].children(), None) is not None:
                    return module, child
    raise ModelError(
        f"{_name(hf)}: looked for a ModuleList of {depth} decoder layers "
        f"(config.num_hidden_layers) in {_name(root)}, found none; "
        "only decoder language models can be steered"
    )


def _attention(layer: nn.Module) -> nn.Module | None:
    # Gemma, OLMo 2 and GLM 4 normalise the block's output before adding it.
    after: nn.Module | None = getattr(layer, "post_self_attn_layernorm", None)
    if after is None and _after_mlp(layer) is not None:
        after = getattr(layer, "post_attention_layernorm", None)
    return after if after is not None else _child(layer, ("Attention",))


def _mlp(layer: nn.Module) -> nn.Module | None:
    after = _after_mlp(layer)
    return after if after is not None else _child(layer, _MLP_CLASSES, but=("Attention", "Norm"))


def _after_mlp(layer: nn.Module) -> nn.Module | None:
    names = ("post_feedforward_layernorm", "post_mlp_layernorm")
    return next((getattr(layer, name) for name in names if hasattr(layer, name)), None)


def _child(layer: nn.Module, words: tuple[str, ...], but: tuple[str, ...] = ()) -> nn.Module | None:
    for child in layer.children():
        name = _name(child)  # such as Qwen3MoeAttention, which is no MLP
        if any(word in name for word in words) and not any(word in name for word in but):
            return child
    return None


def _name(module: nn.Module) -> str:
    return type(module).__name__
