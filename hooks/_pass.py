"""The forward pass that is under way: where its tokens stand, and which of them are selected."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from ._errors import DataError, RunError
from ._model import Model
from ._prompts import Prompts, told
from ._settled import Known, settled
from ._spans import Span
from ._tokens import Tokens

Spans = tuple[Span | None, ...]
"""The span of each row, or one for all rows."""


@dataclass
class Pass:
    """What the hooks of one block share.

    Attributes:
        rows: how many plans the rows of a batch are divided among.
        spans: the spans that are asked for, each with its place in the list.
        settled: for each of these whether it selects every token of the pass (True), none (False),
            or has to be worked out (None).
        checkpoints: whether layers may run again for a backward pass.
    """

    rows: int = 1
    spans: list[Spans] = field(default_factory=list)
    settled: list[bool | None] = field(default_factory=list)
    checkpoints: bool = False
    _tokens: Tokens | None = None
    _place: Callable[[], Tokens] | None = None
    _selected: dict[tuple[Spans, torch.device], Tensor] = field(default_factory=dict)
    _prompt: Int[Tensor, "batch 1"] | None = None
    _open: int = 0
    _quiet: bool = False
    _went_back: bool = False
    _ids: Int[Tensor, "batch seen"] | None = None
    _outer_ids: Int[Tensor, "batch seq"] | None = None

    def slot(self, spans: Spans) -> int:
        """The place of some spans in the list, where they are put if they are new."""
        if spans not in self.spans:
            self.spans.append(spans)
            self.settled.append(None)
        return self.spans.index(spans)

    @cached_property
    def follows_tokens(self) -> bool:
        """Whether a span looks at the tokens themselves."""
        return any(span.looks_at_tokens for spans in self.spans for span in spans if span)

    @property
    def tokens(self) -> Tokens:
        """Where the tokens of the current pass stand, worked out when first asked for."""
        if self._tokens is None:
            assert self._place is not None, "a layer ran outside its decoder"
            self._tokens = self._place()
        return self._tokens

    def select(self, spans: Spans, device: torch.device) -> Bool[Tensor, "rows tokens 1"]:
        """The tokens of a span in each row, worked out once a pass."""
        key = (spans, device)
        if key not in self._selected:
            chosen = _selected(self.tokens, spans)
            chosen = chosen if len(spans) == 1 else chosen.reshape(len(spans), -1)
            self._selected[key] = chosen.unsqueeze(-1).to(device, non_blocking=True)
        return self._selected[key]

    def begin(self, given: dict[str, Any]) -> None:
        """Begin a pass of the decoder with these arguments.

        Raises:
            DataError: if the batch is no multiple of the plans or prompts, or the mask too short.
        """
        ids, inputs = given.get("input_ids"), given.get("inputs_embeds")
        inputs = ids if inputs is None else inputs
        if inputs is None:
            return  # the decoder itself will complain
        self._open = (0 if self._went_back else self._open) + torch.is_grad_enabled()
        self._went_back, self._quiet = False, not torch.is_grad_enabled()
        batch, seq = inputs.shape[0], inputs.shape[1]
        if batch % self.rows:
            raise DataError(
                f"attach: {self.rows} plans do not divide a batch of {batch} rows; "
                "give one plan a row, or one for all"
            )
        prompts = told()
        past = _past(given, prompts, seq)
        if self.follows_tokens:
            here = self._outer_ids if ids is None else ids
            self._ids = _history(self._ids, here, past, seq, prompts)
        self._tokens, self._selected = None, {}
        self._place = partial(self._placed, given, inputs, past, prompts)
        self._settle(prompts, past, seq)

    def _settle(self, prompts: Prompts | None, past: int, seq: int) -> None:
        if prompts is None or prompts.real is None:  # only `generate` says enough
            self.settled = [None] * len(self.spans)
            _ = self.tokens  # which may be where the cache begins
            return
        first = past - prompts.real.shape[1]
        known = Known(first, first + seq, first >= 0 or prompts.whole)
        self.settled = [_settled_in_all(spans, known) for spans in self.spans]

    def _placed(
        self, given: dict[str, Any], inputs: Tensor, past: int, prompts: Prompts | None
    ) -> Tokens:
        shape = (inputs.shape[0], inputs.shape[1])
        mask = given.get("attention_mask")
        if isinstance(mask, dict):  # transformers has prepared one mask per kind of layer
            mask = mask.get("full_attention", next(iter(mask.values()), None))
        if prompts is not None:
            mask = prompts.flat(mask, shape[0], past + shape[1])
            lengths = prompts.lengths
            return Tokens.of_pass(shape, inputs.device, past, mask, lengths, self._ids)
        tokens = Tokens.of_pass(shape, inputs.device, past, mask, None, self._ids)
        if not past:
            self._prompt = tokens.prompt_length
        elif self._prompt is not None and len(self._prompt) == shape[0]:
            # The prompt was the pass that began the cache; a longer one was of another text.
            shorter = torch.minimum(self._prompt, tokens.prompt_length)
            tokens = replace(tokens, prompt_length=shorter)
        return tokens

    def check_recomputation(self) -> None:
        """Gradient checkpointing runs layers again, when other passes may have begun.

        Raises:
            RunError: if it is not known for which pass a layer runs.
        """
        if torch._C._current_graph_task_id() == -1:  # no backward pass is under way
            return
        self._went_back = True
        if self._open > 1 or self._quiet:
            raise RunError(
                "attach: gradient checkpointing runs a layer again after another pass has begun, "
                "and its tokens are no longer known; call backward after each pass, or "
                "turn gradient checkpointing off"
            )


@contextmanager
def watching(model: Model, state: Pass) -> Iterator[None]:
    """Keep `state.tokens` true during every pass of the decoder."""
    decoder = model.anatomy.decoder
    signature = inspect.signature(type(decoder).forward)  # nnsight puts another on the instance

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = kwargs
        if args:
            given = signature.bind_partial(decoder, *args, **kwargs).arguments
            given |= given.pop("kwargs", {})
        state.checkpoints = decoder.training and getattr(decoder, "gradient_checkpointing", False)
        state.begin(given)

    def outside(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else kwargs.get("input_ids")
        state._outer_ids = ids if isinstance(ids, Tensor) else None

    with ExitStack() as stack:
        if state.follows_tokens and model.hf is not decoder:
            handle = model.hf.register_forward_pre_hook(outside, with_kwargs=True)
            stack.callback(handle.remove)
        handle = decoder.register_forward_pre_hook(before, with_kwargs=True)
        stack.callback(handle.remove)
        yield


def _settled_in_all(spans: Spans, known: Known) -> bool | None:
    """What the spans of all rows select together."""
    found = {False if span is None else settled(span, known) for span in spans}
    return found.pop() if len(found) == 1 else None


def _past(given: dict[str, Any], prompts: Prompts | None, seq: int) -> int:
    """How many tokens the cache holds."""
    cache = given.get("cache")
    cache = given.get("past_key_values") if cache is None else cache
    length = 0 if cache is None else cache.get_seq_length()
    if isinstance(length, Tensor):
        if prompts is not None and prompts.total is not None:
            return prompts.total - seq  # asking the device would wait for it
        length = int(length)
    return length


def _history(
    before: Tensor | None, here: Tensor | None, past: int, seq: int, prompts: Prompts | None
) -> Int[Tensor, "batch total"] | None:
    """The tokens up to the end of the pass; None if some are not known."""
    if prompts is not None and prompts.ids is not None:
        missing = past + seq - prompts.ids.shape[1]
        if missing in (0, prompts.embedded):  # not so in the middle of a chunked prompt
            return nn.functional.pad(prompts.ids, (missing, 0), value=-1)
    if here is None or here.shape[1] != seq:
        return None
    if not past:
        return here
    if before is None or before.shape[0] != here.shape[0] or before.shape[1] < past:
        return None
    return torch.cat([before[:, :past], here], dim=1)


def _selected(tokens: Tokens, spans: Spans) -> Bool[Tensor, "batch seq"]:
    distinct = dict.fromkeys(span for span in spans if span is not None)
    if len(distinct) == 1 and None not in spans:
        return next(iter(distinct))(tokens)
    chosen = torch.zeros_like(tokens.real)
    each = tokens.real.shape[0] // len(spans)
    for span in distinct:
        rows = torch.tensor([other == span for other in spans])
        rows = rows.to(chosen.device, non_blocking=True).repeat_interleave(each)
        chosen |= rows.unsqueeze(1) & span(tokens)
    return chosen
