"""HellaSwag (Zellers et al. 2019, https://arxiv.org/abs/1905.07830): which ending follows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steer._files import Row
from steer.hooks import DataError

from ._choosing import Choosing, choosing
from ._request import text_in
from ._setting import Setting
from ._task import Metric, Result, Task


@dataclass(frozen=True)
class Ending:
    """A context with four endings.

    Attributes:
        id: its number, from 0.
        context: what comes before.
        endings: what may come after.
        label: the number of the right one.
    """

    id: int
    context: str
    endings: Sequence[str]
    label: int

    @property
    def shown(self) -> dict[str, Any]:
        """What `rows.jsonl` says about it."""
        return {"context": self.context, "endings": list(self.endings), "label": self.label}


def _item(row: Row, number: int) -> Ending:
    """From the original columns (`ctx_a`, `ctx_b`, `activity_label`) or a joined `ctx`."""
    if {"ctx_a", "ctx_b", "activity_label"} <= row.keys():
        context = f"{row['activity_label']}: {row['ctx_a']} {str(row['ctx_b']).capitalize()}"
    else:
        context = text_in(row, number, "ctx")
    try:
        endings, label = [_clean(str(text)) for text in row["endings"]], int(row["label"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"row {number}: expected ctx, endings and label ({error!r})") from error
    if not all(text.strip() for text in endings):
        raise DataError(f"row {number}: an ending is empty, or nothing but a tag: {row['endings']}")
    if len(endings) < 2 or not 0 <= label < len(endings):
        raise DataError(f"row {number}: label {label} names none of {len(endings)} endings")
    return Ending(number, _clean(context), endings, label)


def _clean(text: str) -> str:
    """As lm-evaluation-harness does: WikiHow's bracketed tags are not part of the text."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _form(_: Setting, item: Ending) -> Choosing:
    return Choosing(item.context, item.endings)


def _score(item: Ending, values: list[float]) -> Result:
    each = [v / len(ending) for v, ending in zip(values, item.endings, strict=True)]
    return {
        "acc": float(values.index(max(values)) == item.label),
        "acc_norm": float(each.index(max(each)) == item.label),
        "scores": values,
    }


HELLASWAG = Task(
    name="hellaswag",
    about="HellaSwag: the right ending, by log-probability and by that per character",
    source="hellaswag_val.jsonl of github.com/rowanz/hellaswag, as --data FILE",
    licence="MIT",
    metrics=(
        Metric("acc_norm", "likeliest ending per character is right", "higher"),
        Metric("acc", "likeliest ending is right", "higher"),
    ),
    item=_item,
    measure=choosing(_form, _score, lambda _: "", {"acc": 0.0, "acc_norm": 0.0}),
    prompts=("plain",),
)
