"""How a model is run while it is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steer._judges import Judge
from steer._scoring import Asked, Primer, primed
from steer.hooks import Model, ModelError, Plan, TaskError

from ._templates import TEMPLATES

_KEPT = 16  # primers at a time: a KV cache each, and more than the usual arms

Part = dict[str, str]
"""A text or a picture in a turn of a chat."""


@dataclass(frozen=True)
class Setting:
    """The model and how it is run."""

    model: Model
    """Not steered: what measures it attaches the plans."""

    prompt: str
    """Name of the prompt format, one of the task's."""

    system: str | None = None
    """System message of the chat template."""

    seed: int = 0
    """Of the split, the pairs, the random vectors and the bootstrap."""

    batch_tokens: int = 1024
    """Tokens in a batch, padding included."""

    max_new_tokens: int = 128
    """Tokens of an answer, at most."""

    judges: Mapping[str, Judge] = field(default_factory=dict)
    """Judges of answers by name; the first decides."""

    judged_by: Mapping[str, str | None] = field(default_factory=dict)
    """What tells each judge from another of the same name, such as a digest of its weights."""

    progress: bool = False
    """Show bars."""

    _primers: dict[tuple[str | None, tuple[int, ...]], Primer] = field(default_factory=dict)

    def asked(self, text: str) -> Asked:
        """A message in the prompt format: `chat`, `qa` or `plain`.

        Raises:
            DataError: `chat`, but the tokenizer has no chat template.
            TaskError: a system message without `chat`.
        """
        if self.prompt == "chat":
            return Asked(self.model.chat(text, self.system))
        if self.system is not None:
            raise TaskError(f"eval: a system message needs --prompt chat, got {self.prompt}")
        form = TEMPLATES.get(self.prompt, "{question}")
        return Asked(form.format(question=text))

    def pictured(self, text: str, image: Path) -> Asked:
        """A message about a picture, in the chat template of the model's processor.

        Raises:
            DataError, TaskError: as in `asked`.
            ModelError: if the model reads no images.
        """
        processor = self.model.processor
        if processor is None:
            raise ModelError(f"{self.model.name}: reads no images; use a vision-language model")
        if self.prompt != "chat" or not getattr(processor, "chat_template", None):
            token = getattr(processor, "image_token", "<image>")
            if self.prompt == "chat":  # the picture is part of the user's turn
                return Asked(self.asked(f"{token}\n{text}").text, image)
            return Asked(f"{token}\n{self.asked(text).text}", image)
        turns = [] if self.system is None else [_turn("system", _text(self.system))]
        turns.append(_turn("user", {"type": "image"}, _text(text)))
        return Asked(
            processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), image
        )

    def primer(self, plan: Plan | None, ids: Sequence[int], longest: int) -> Primer | None:
        """What prompts begin with, run once for each plan; the plan is attached just now."""
        key = (None if plan is None else plan.hash, tuple(ids))
        if key not in self._primers:
            made = primed(self.model, ids, longest)
            if made is None:  # that may hang on these prompts alone
                return None
            if len(self._primers) >= _KEPT:  # tuning tries many plans, each once
                del self._primers[next(iter(self._primers))]
            self._primers[key] = made
        return self._primers[key]


def _turn(role: str, *content: Part) -> dict[str, object]:
    return {"role": role, "content": list(content)}


def _text(text: str) -> Part:
    return {"type": "text", "text": text}
