"""Runs two tokens through a model once, to see that the sites found in it are what they say.

No hook on the model sees this pass, and nothing of the model is changed by it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from . import _parts
from ._anatomy import Anatomy
from ._device import input_device
from ._errors import ModelError, SiteError
from ._routing import Routing
from ._sites import Site, final


@dataclass
class Findings:
    """What the pass showed.

    Attributes:
        widths: the last dimension of the tensor at each site that was checked.
        refused: why a site cannot be used.
        head_scale: what the states at `final` are multiplied with before the LM head reads them.
        unchecked: why the pass could not be made; the sites are as found by structure.
    """

    widths: dict[Site, int] = field(default_factory=dict)
    refused: dict[Site, str] = field(default_factory=dict)
    head_scale: float = 1.0
    unchecked: str | None = None


_FOUND: WeakKeyDictionary[PreTrainedModel, Findings] = WeakKeyDictionary()


def probed(hf: PreTrainedModel, anatomy: Anatomy) -> Findings:
    """What a pass of two tokens shows; made once a model, and anew for modules named by hand.

    Raises:
        ModelError: if the layers found do not run, or give something else than hidden states.
    """
    if anatomy.places:
        return _probe(hf, anatomy)
    if hf not in _FOUND:
        _FOUND[hf] = _probe(hf, anatomy)
    return _FOUND[hf]


Outputs = dict[nn.Module, list[Any]]


def _probe(hf: PreTrainedModel, anatomy: Anatomy) -> Findings:
    inputs: Outputs = {}
    outputs: Outputs = {}
    head = hf.get_output_embeddings()
    sites = [site for site in anatomy.sites() if site.kind not in ("resid_pre", "resid_post")]
    modules = {anatomy.module(site) for site in sites} | {anatomy.decoder, *anatomy.layers}
    modules |= {block for layer in anatomy.layers if (block := _parts.attention(layer))}
    try:
        with _silenced(hf), ExitStack() as stack:
            for module in modules | ({head} if head is not None else set()):
                for handle in _watch(module, inputs, outputs):
                    stack.callback(handle.remove)
            _run(hf, anatomy)
    except Exception as error:  # some models cannot run on text alone
        return Findings(unchecked=f"{type(error).__name__}: {error}".split("\n")[0])
    found = Findings()
    width = _check_layers(hf, anatomy, outputs)
    for site in sites:
        reason = _wrong(anatomy, site, inputs, outputs, width, found)
        if reason:
            found.refused[site] = reason
    if head is not None and final not in found.refused and anatomy.norm is not None:
        _check_final(found, anatomy.norm, head, inputs, outputs)
    return found


def _watch(module: nn.Module, inputs: Outputs, outputs: Outputs) -> Iterator[Any]:
    yield module.register_forward_pre_hook(
        lambda m, args: inputs.setdefault(m, []).append(args[0] if args else None)
    )
    yield module.register_forward_hook(lambda m, _, out: outputs.setdefault(m, []).append(out))


@torch.no_grad()
def _run(hf: PreTrainedModel, anatomy: Anatomy) -> None:
    ids = torch.tensor([[0, 1]], device=input_device(anatomy.embedding))
    given = {"input_ids": ids}
    if hf.config.is_encoder_decoder:
        given["decoder_input_ids"] = ids
    devices = {p.device for p in hf.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):  # dropout draws
        hf(**given, use_cache=False)


@contextmanager
def _silenced(hf: PreTrainedModel) -> Iterator[None]:
    """Set aside all forward hooks, and put them back as they were."""
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    kept = [(m, kind, getattr(m, kind)) for m in hf.modules() for kind in kinds]
    try:
        for module, kind, hooks in kept:
            setattr(module, kind, type(hooks)())
        yield
    finally:
        for module, kind, hooks in kept:
            setattr(module, kind, hooks)


def _check_layers(hf: PreTrainedModel, anatomy: Anatomy, outputs: Outputs) -> int:
    width = None
    if anatomy.decoder not in outputs:
        raise ModelError(
            f"{type(hf).__name__}: {type(anatomy.decoder).__name__}, which holds the layers, is "
            'not called by the model; name the layers with places={"layers": "path.to.the.layers"}'
        )
    for n, layer in enumerate(anatomy.layers):
        if layer not in outputs:  # cross-attention to an image that there is not
            continue
        states = _first(outputs[layer][-1])
        shape = None if states is None else tuple(states.shape)
        width = shape[-1] if shape and width is None else width
        if shape != (1, 2, width):
            raise ModelError(
                f"{type(hf).__name__}: layer {n} ({type(layer).__name__}) gave "
                f"{shape or 'nothing'} for two tokens, expected (1, 2, {width or 'd_model'}); "
                'name the layers with places={"layers": "path.to.the.layers"}'
            )
    if width is None:
        raise ModelError(
            f"{type(hf).__name__}: no layer of {type(anatomy.decoder).__name__} ran for two "
            'tokens; name the layers with places={"layers": "path.to.the.layers"}'
        )
    return width


def _wrong(
    anatomy: Anatomy, site: Site, inputs: Outputs, outputs: Outputs, width: int, found: Findings
) -> str | None:
    """Why the tensor at a site is not what the site says, or None; its width goes to `found`."""
    module = anatomy.module(site)
    name = type(module).__name__
    if site.layer is not None and anatomy.layers[site.layer] not in outputs:
        return None  # not checked
    if module not in outputs:
        return f"{name} did not run for two tokens of text"
    if len(outputs[module]) > 1 and site.kind != "embed":
        return f"{name} ran {len(outputs[module])} times in one pass"
    if site.kind == "router":
        routing = Routing.of(outputs[module][-1])
        if routing is None:
            return f"{name} does not return the weights of the experts that it chose"
        found.widths[site] = routing.experts
        return None
    if site.kind == "heads":
        return _wrong_heads(anatomy, site, inputs, outputs, found)
    states = _first(outputs[module][-1])
    if states is None or states.shape[-1] != width or states.numel() != 2 * width:
        got = None if states is None else tuple(states.shape)
        return f"{name} gave {got} for two tokens, expected (1, 2, {width})"
    found.widths[site] = width
    return None


def _wrong_heads(
    anatomy: Anatomy, site: Site, inputs: Outputs, outputs: Outputs, found: Findings
) -> str | None:
    projection = anatomy.module(site)
    given = inputs[projection][-1]
    if given is None:
        return f"{type(projection).__name__} is not given its input by position"
    assert site.layer is not None
    block = _parts.attention(anatomy.layers[site.layer])
    ends = "heads" in anatomy.places or block is None or _same(outputs, block, projection)
    if not ends:
        return f"{type(block).__name__} does not end with {type(projection).__name__}"
    found.widths[site] = given.shape[-1]
    return None


def _same(outputs: Outputs, block: nn.Module, projection: nn.Module) -> bool:
    whole, last = _first(outputs[block][-1]), _first(outputs[projection][-1])
    if whole is None or last is None or whole.numel() != last.numel():
        return False
    takes_residual = block is not projection and _parts.adds_residual(block)
    return takes_residual or whole.is_meta or torch.allclose(whole.flatten(), last.flatten())


def _check_final(
    found: Findings, norm: nn.Module, head: nn.Module, inputs: Outputs, outputs: Outputs
) -> None:
    if head not in inputs:
        return
    read, states = inputs[head][-1], _first(outputs[norm][-1])
    if read is None or states is None or read.is_meta:
        return
    read, states = read.flatten().float(), states.flatten().float().to(read.device)
    scale = 1.0
    if read.shape == states.shape and not torch.equal(read, states):
        scale = float(read @ states / (states @ states))  # T5 scales what its LM head reads
    if read.shape != states.shape or not torch.allclose(read, scale * states, rtol=1e-3, atol=1e-5):
        found.refused[final] = (
            f"the LM head does not read what leaves {type(norm).__name__}; "
            'name the last norm with places={"final": ...}'
        )
        return
    found.head_scale = scale


def _first(output: Any) -> Tensor | None:
    if isinstance(output, tuple | list):
        output = output[0]
    return output if isinstance(output, Tensor) else None


def refuse(found: Findings, site: Site) -> None:
    """Raise what the pass showed about a site.

    Raises:
        SiteError: if it cannot be used.
    """
    if site in found.refused:
        reason = found.refused[site]
        hint = "" if "places" in reason else f'; name it with places={{"{site.kind}": ...}}'
        raise SiteError(f"site {site}: {reason}{hint}")
