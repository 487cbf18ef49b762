"""The default backend: plain forward hooks on a transformers model.

One hook on the decoder works out, once a pass, where its tokens stand; one hook a site then edits.
Nothing here asks the device for a value, so CUDA stays asynchronous.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ._edits import Bound
from ._generate import generate_tells_prompts
from ._model import Model
from ._plan import Intervention, Plan
from ._prompts import told
from ._sites import Site
from ._spans import Span
from ._tokens import Tokens


@dataclass
class Pass:
    """What the hooks of one block share: the pass that is under way.

    Attributes:
        tokens: where the tokens of the current pass stand.
        selected: the spans worked out for it so far.
    """

    tokens: Tokens | None = None
    selected: dict[Span, Bool[Tensor, "batch seq 1"]] = field(default_factory=dict)

    def select(self, span: Span) -> Bool[Tensor, "batch seq 1"]:
        """The tokens of a span, worked out once a pass."""
        if span not in self.selected:
            assert self.tokens is not None, "a layer ran outside its decoder"
            self.selected[span] = span(self.tokens).unsqueeze(-1)
        return self.selected[span]


@contextmanager
def hooked(model: Model, plan: Plan) -> Iterator[None]:
    """Hold the hooks of a plan on a model."""
    state = Pass()
    with ExitStack() as stack:
        stack.enter_context(watching(model, state))
        stack.enter_context(generate_tells_prompts(model))
        for site, items in _by_site(plan).items():
            edit = _Editor(state, items)
            for handle in register(model, site, edit):
                stack.callback(handle.remove)
        yield


@contextmanager
def watching(model: Model, state: Pass) -> Iterator[None]:
    """Keep `state.tokens` true during every pass of the decoder."""
    decoder = model.anatomy.decoder
    signature = inspect.signature(decoder.forward)

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = signature.bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        inputs = given.get("inputs_embeds")
        inputs = given.get("input_ids") if inputs is None else inputs
        if inputs is None:
            return  # the decoder itself will complain
        cache = given.get("cache")
        cache = given.get("past_key_values") if cache is None else cache
        past = 0 if cache is None else int(cache.get_seq_length())
        shape = (inputs.shape[0], inputs.shape[1])
        mask = given.get("attention_mask")
        if isinstance(mask, dict):  # transformers has prepared one mask per kind of layer
            mask = mask.get("full_attention", next(iter(mask.values()), None))
        prompts = told()
        if prompts is not None:
            mask = prompts.flat(mask, inputs.shape[0], past + inputs.shape[1])
        lengths = None if prompts is None else prompts.lengths
        state.tokens = Tokens.of_pass(shape, inputs.device, past, mask, lengths)
        state.selected = {}

    handle = decoder.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _by_site(plan: Plan) -> dict[Site, list[Intervention]]:
    sites: dict[Site, list[Intervention]] = {}
    for item in plan:
        if item.strength != 0:
            sites.setdefault(item.site, []).append(item)
    return sites


class _Editor:
    """Applies the interventions of one site, in order."""

    def __init__(self, state: Pass, items: list[Intervention]) -> None:
        self.state = state
        self.items = items
        self.bound: dict[tuple[torch.device, torch.dtype], list[Bound]] = {}

    def __call__(self, hidden: Float[Tensor, "batch seq d"]) -> Float[Tensor, "batch seq d"]:
        for item, edit in zip(self.items, self._bind(hidden), strict=True):
            chosen = self.state.select(item.span).to(hidden.device)
            hidden = torch.where(chosen, edit(hidden), hidden)
        return hidden

    def _bind(self, like: Tensor) -> list[Bound]:
        if any(item.edit.vector.requires_grad for item in self.items):
            return [item.edit.bind(item.strength, like) for item in self.items]
        key = (like.device, like.dtype)
        if key not in self.bound:
            with torch.inference_mode(False):  # or a later pass could not be differentiated
                self.bound[key] = [item.edit.bind(item.strength, like) for item in self.items]
        return self.bound[key]


Editor = Callable[[Tensor], Tensor]


def register(
    model: Model, site: Site, edit: Editor, *, read: bool = False
) -> Iterator[RemovableHandle]:
    """Put `edit` on a site, or with `read` what only reads; yields the handles as they are made."""
    module = model.anatomy.module(site)
    if site.kind == "resid_pre":
        yield module.register_forward_pre_hook(_on_input(edit), with_kwargs=True)
    elif site.kind == "embed":
        yield from _register_embed(model, edit)
    elif read:
        yield module.register_forward_hook(_on_output(edit))  # after everyone's edits
    else:
        yield _before_others(module, _on_output(edit))


def _before_others(module: nn.Module, hook: Callable[..., Any]) -> RemovableHandle:
    """Register a forward hook after ours that are there already, but before everyone else's.

    transformers records `output_hidden_states` with hooks that it leaves on the layers; they must
    see the edited states whether they were installed before the block or inside it.
    """
    ours = [key for key, other in module._forward_hooks.items() if hasattr(other, "of_steer")]
    hook.of_steer = True  # type: ignore[attr-defined]
    handle = module.register_forward_hook(hook, prepend=True)
    for key in reversed(ours):
        module._forward_hooks.move_to_end(key, last=False)  # type: ignore[attr-defined]
    return handle


def _on_output(edit: Editor) -> Callable[..., Any]:
    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (edit(output[0]), *output[1:])
        return edit(output)

    return hook


def _on_input(edit: Editor) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (edit(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": edit(kwargs["hidden_states"])}

    return hook


def _register_embed(model: Model, edit: Editor) -> Iterator[RemovableHandle]:
    """Edit what the decoder embeds itself, or the embeddings that it is given instead."""
    inside = False

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal inside
        if kwargs.get("inputs_embeds") is None:
            inside = True
            return None
        return args, kwargs | {"inputs_embeds": edit(kwargs["inputs_embeds"])}

    def leave(_: nn.Module, __: Any, ___: Any) -> None:
        nonlocal inside
        inside = False

    def embedded(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        nonlocal inside
        first, inside = inside, False  # GPT-2 embeds token types with the same module
        return edit(output) if first else None

    decoder = model.anatomy.decoder
    yield decoder.register_forward_pre_hook(enter, with_kwargs=True)
    yield decoder.register_forward_hook(leave, always_call=True)
    yield model.anatomy.embedding.register_forward_hook(embedded)
