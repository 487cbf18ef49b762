"""The forward pass that is under way: where its tokens stand, and which of them are selected."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from ._errors import DataError, RunError
from ._prompts import Prompts
from ._settled import Known, settled
from ._spans import Span
from ._texts import Text, Texts, history, tokens_in
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
    _selected: dict[tuple[int, torch.device], Tensor] = field(default_factory=dict)
    _members: dict[tuple[int, torch.device], list[tuple[Span, Tensor]]] = field(
        default_factory=dict
    )
    _texts: Texts = field(default_factory=Texts)
    _text: Text = field(default_factory=Text)
    _open: int = 0
    _quiet: bool = False
    _went_back: bool = False

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

    def select(self, slot: int, device: torch.device) -> Bool[Tensor, "rows tokens 1"]:
        """The tokens of the spans at a place in the list, worked out once a pass."""
        key = (slot, device)
        if key not in self._selected:
            spans, tokens = self.spans[slot], self.tokens
            if len(set(spans)) == 1 and spans[0] is not None:
                chosen = spans[0](tokens)
            else:
                chosen = self._by_row(slot, tokens)
            chosen = chosen if len(spans) == 1 else chosen.reshape(len(spans), -1)
            self._selected[key] = chosen.unsqueeze(-1).to(device, non_blocking=True)
        return self._selected[key]

    def _by_row(self, slot: int, tokens: Tokens) -> Bool[Tensor, "batch seq"]:
        """The tokens of different spans, each in its rows."""
        device, spans = tokens.real.device, self.spans[slot]
        if (slot, device) not in self._members:
            rows: dict[Span, list[bool]] = {}
            for n, span in enumerate(spans):
                if span is not None:
                    rows.setdefault(span, [False] * len(spans))[n] = True
            self._members[slot, device] = [
                (span, torch.tensor(its).to(device, non_blocking=True))
                for span, its in rows.items()
            ]
        each = tokens.real.shape[0] // len(spans)
        chosen = torch.zeros_like(tokens.real)
        for span, its in self._members[slot, device]:
            chosen |= its.repeat_interleave(each).unsqueeze(1) & span(tokens)
        return chosen

    def begin(
        self, given: dict[str, Any], prompts: Prompts | None, outer: Tensor | None = None
    ) -> None:
        """Begin a pass of the decoder.

        Args:
            given: its arguments.
            prompts: what is known of its prompts.
            outer: the tokens that a module around the decoder was given.

        Raises:
            DataError: if the batch is no multiple of the plans or prompts, or the mask too short.
            RunError: if the cache does not say how many tokens it holds.
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
        cache = given.get("cache")
        cache = given.get("past_key_values") if cache is None else cache
        past = tokens_in(cache, given.get("state"), prompts, seq)
        self._text = self._texts.of(cache, past)
        if self.follows_tokens:
            here = outer if ids is None else ids
            here = None if here is None or here.shape[0] != batch else here
            self._text.ids = history(self._text.ids, here, past, seq, prompts)
        self._tokens, self._selected = None, {}
        self._place = partial(self._placed, given, inputs, past, prompts)
        self._settle(prompts, past, seq)

    def end(self, output: Any) -> None:
        """End a pass, which may have made the cache of its text."""
        self._place = None  # it holds the pass's arguments, the cache among them
        cache = getattr(output, "cache", None)
        cache = getattr(output, "past_key_values", None) if cache is None else cache
        self._texts.remember(cache, self._text)

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
        text = self._text
        if prompts is not None:
            mask = prompts.flat(mask, shape[0], past + shape[1])
            lengths = prompts.lengths
            tokens = Tokens.of_pass(shape, inputs.device, past, mask, lengths, text.ids)
            return tokens if prompts.places is None else _moved(tokens, prompts.places)
        tokens = Tokens.of_pass(shape, inputs.device, past, mask, None, text.ids)
        if not past or text.prompt is None:
            text.prompt = tokens.prompt_length
        elif len(text.prompt) == shape[0]:
            # The prompt was the pass that began this cache, not all that it holds by now.
            tokens = replace(tokens, prompt_length=text.prompt)
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


def _moved(tokens: Tokens, places: Tensor) -> Tokens:
    """The tokens at places that are told, not those in the row."""
    if places.shape != tokens.real.shape:
        raise DataError(
            f"prompts: places for {tuple(places.shape)} tokens, but the pass has "
            f"{tuple(tokens.real.shape)}; give one place a token, padding included"
        )
    return replace(tokens, position=places.to(tokens.real.device))


def _settled_in_all(spans: Spans, known: Known) -> bool | None:
    """What the spans of all rows select together."""
    found = {False if span is None else settled(span, known) for span in spans}
    return found.pop() if len(found) == 1 else None
