"""The default backend: plain forward hooks on a transformers model.

One hook on the decoder works out, once a pass, where its tokens stand; one hook a site then edits.
Nothing here asks the device for a value, so CUDA stays asynchronous.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ._edit import Bound
from ._errors import RunError, SiteError
from ._generate import generate_tells_prompts
from ._model import Model
from ._pass import Pass
from ._plan import Plan
from ._program import Step, program
from ._routing import Routing
from ._sites import Site
from ._watching import watching

Editor = Callable[[Tensor], Tensor]


@contextmanager
def hooked(model: Model, plans: Sequence[Plan | None]) -> Iterator[None]:
    """Hold the hooks of plans on a model: one plan for each row, or one for all."""
    state = Pass(len(plans))
    editors = {
        site: _Editor(site, state, steps, model.width(site))
        for site, steps in program(plans).items()
    }
    with ExitStack() as stack:
        stack.enter_context(watching(model, state))
        stack.enter_context(generate_tells_prompts(model))
        for site, editor in editors.items():
            for handle in register(model, site, editor):
                stack.callback(handle.remove)
        yield


class _Editor:
    """Applies the steps of one site, in order.

    It runs once a layer and token, between large matrix products that have emptied the caches, so
    it keeps what it can and looks up little.
    """

    def __init__(self, site: Site, state: Pass, steps: list[Step], width: int | None) -> None:
        self.site = site
        self.state = state
        self.steps = steps
        self.width = width
        self.slots = [state.slot(step.spans) for step in steps]
        self.trains = any(step.trains for step in steps)
        self.kept: dict[tuple[torch.device, torch.dtype], list[tuple[Bound, int]]] = {}
        self.edits: list[tuple[Bound, int]] = []
        self.dtype: torch.dtype | None = None
        self.device: torch.device | None = None

    def __call__(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        state = self.state
        if state.checkpoints:
            state.check_recomputation()
        if hidden.dtype is not self.dtype or hidden.device != self.device or self.trains:
            self._bind(hidden)
        shape = None
        if state.rows > 1 or hidden.dim() != 3:
            shape = hidden.shape
            hidden = hidden.reshape(self._rows(), -1, shape[-1])
        for edit, slot in self.edits:
            all_or_none = state.settled[slot]
            if all_or_none is None:
                hidden = edit(hidden, self._chosen(slot, hidden))
            elif all_or_none:
                hidden = edit(hidden, None)
        return hidden if shape is None else hidden.reshape(shape)

    def _chosen(self, slot: int, hidden: Tensor) -> Tensor:
        chosen = self.state.select(slot, hidden.device)
        if chosen.shape[:2] != hidden.shape[:2]:
            raise RunError(
                f"site {self.site}: the decoder was given {tuple(chosen.shape[:2])} tokens, but "
                f"{tuple(hidden.shape[:2])} are here; this model cannot be steered in such a pass"
            )
        return chosen

    def _rows(self) -> int:
        return self.state.rows if self.state.rows > 1 else self.state.tokens.real.shape[0]

    def _bind(self, like: Tensor) -> None:
        """Make the edits ready for tensors of this device and dtype."""
        if self.width is not None and like.shape[-1] != self.width:
            raise SiteError(
                f"site {self.site}: expected {self.width} values a token, the model gives "
                f"{tuple(like.shape)}; name the module with places={{'{self.site.kind}': ...}}"
            )
        self.dtype, self.device = like.dtype, like.device
        key = (like.device, like.dtype)
        if self.trains or key not in self.kept:
            bound = [step.bind(like) for step in self.steps]
            self.kept[key] = list(zip(bound, self.slots, strict=True))
        self.edits = self.kept[key]


def register(
    model: Model, site: Site, edit: Editor, *, read: bool = False
) -> Iterator[RemovableHandle]:
    """Put `edit` on a site, or with `read` what only reads; yields the handles as they are made."""
    if site.kind == "embed":
        yield from _register_embed(model, edit)
        return
    module = model.anatomy.module(site)
    if site.kind in ("resid_pre", "heads"):
        yield module.register_forward_pre_hook(_on_input(edit), with_kwargs=True)
        return
    hook = _on_routing(site, edit) if site.kind == "router" else _on_output(edit)
    if read:
        yield module.register_forward_hook(hook)  # after everyone's edits
    else:
        yield _before_others(module, hook)


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
        if isinstance(output, list):  # GPT-1
            return [edit(output[0]), *output[1:]]
        return edit(output)

    return hook


def _on_routing(site: Site, edit: Editor) -> Callable[..., Any]:
    def hook(router: nn.Module, _: Any, output: Any) -> Any:
        routing = Routing.of(output)
        if routing is None:
            raise SiteError(
                f"site {site}: {type(router).__name__} does not return the weights of the experts "
                "that it chose"
            )
        return routing.replaced(edit(routing.weights))

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
