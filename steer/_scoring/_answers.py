"""Generates answers to many prompts under several plans, all in the same batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steer.hooks import DataError, Model, ModelError, Plan, attach, by_tokens

from ._halving import halving

_HELD = 16  # cached tokens for each token of a batch

# Greedy and nothing else, whatever the checkpoint's own generation_config asks for.
_PLAIN = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
}


class Asked(NamedTuple):
    """A prompt as the model will see it, with the image it is about if there is one."""

    text: str
    image: Path | None = None


class Answer(NamedTuple):
    """What was generated.

    Attributes:
        text: without special tokens.
        tokens: how many were generated, the end token left out.
        ended: whether the model ended by itself.
    """

    text: str
    tokens: int
    ended: bool


class _Row(NamedTuple):
    plan: int
    prompt: int


@torch.no_grad()
def answers(
    model: Model,
    prompts: Sequence[Asked],
    plans: Sequence[Plan | None] = (None,),
    *,
    max_new_tokens: int = 128,
    batch_tokens: int = 1024,
) -> list[list[Answer]]:
    """The greedy answer to every prompt under every plan.

    Rows of different plans and lengths share a batch: steered and unsteered answers are made in the
    same passes.

    Args:
        model: the model, not steered.
        prompts: what is asked.
        plans: one entry an arm; None is the unsteered model.
        max_new_tokens: at most so many tokens each.
        batch_tokens: a sixteenth of the tokens of a batch, prompts and answers together.

    Returns:
        For each plan the answers, in the order of the prompts.

    Raises:
        DataError: an image that cannot be read. ModelError: an image for a model that reads none.
        RunError: memory does not suffice for one row.
    """
    rows = [_Row(a, p) for p in range(len(prompts)) for a in range(len(plans))]
    lengths = [len(model.token_ids(asked.text)) for asked in prompts]
    found: list[list[Answer | None]] = [[None] * len(prompts) for _ in plans]

    def run(group: Sequence[_Row]) -> None:
        batch = _batch(model, [prompts[row.prompt] for row in group])
        with attach(model, _shared([plans[row.plan] for row in group])):
            out = model.hf.generate(
                **batch, **_PLAIN, max_new_tokens=max_new_tokens, pad_token_id=model.pad_id
            )
        new = out[:, batch["input_ids"].shape[1] :]
        for row, answer in zip(group, _read(model, new), strict=True):
            found[row.plan][row.prompt] = answer

    weights = [lengths[row.prompt] + max_new_tokens for row in rows]
    for group in by_tokens(weights, _HELD * batch_tokens):
        halving(run, [rows[i] for i in group])
    return [[answer for answer in arm if answer is not None] for arm in found]


def _shared(plans: list[Plan | None]) -> list[Plan | None] | Plan | None:
    """One plan for all rows where they have the same: it costs less than one a row."""
    return plans[0] if all(plan is plans[0] for plan in plans) else plans


def _batch(model: Model, asked: Sequence[Asked]) -> dict[str, Tensor]:
    if not any(one.image for one in asked):
        batch = model.batch([model.token_ids(one.text) for one in asked])
        del batch["position_ids"]  # generate makes its own, the same, from the mask
        return batch
    if model.processor is None:
        raise ModelError(f"{model.name}: reads no images; choose a vision-language model")
    images = [[_opened(one.image)] if one.image else [] for one in asked]
    found: dict[str, Any] = model.processor(
        text=[one.text for one in asked],
        add_special_tokens=not all(_begun(model, one.text) for one in asked),
        images=images,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    floats = {name for name, value in found.items() if value.is_floating_point()}
    return {
        name: value.to(model.device, model.dtype if name in floats else None)
        for name, value in found.items()
    }


def _begun(model: Model, text: str) -> bool:
    """Whether a chat template has put the start token there already."""
    start = model.tokenizer.bos_token
    return bool(start) and text.startswith(start)


def _opened(path: Path) -> Any:
    """An image in RGB.

    Raises:
        DataError: no image at that path, or one that cannot be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError('images need Pillow: pip install "steer[vlm]"') from error
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise DataError(f"cannot read the image {path} ({error})") from error


def _read(model: Model, new: Tensor) -> list[Answer]:
    ends = model.hf.generation_config.eos_token_id
    ends = torch.tensor(ends if isinstance(ends, list) else [-1 if ends is None else ends])
    found = []
    for ids in new.cpu():
        stops = torch.isin(ids, ends).nonzero()[:1].flatten().tolist()
        kept = ids[: stops[0]] if stops else ids
        text = model.tokenizer.decode(kept, skip_special_tokens=True)
        found.append(Answer(str(text).strip(), len(kept), bool(stops)))
    return found
