"""Side effects on running text: perplexity, and the KL divergence from the unsteered model."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from steer._files import Row
from steer._scoring import Compared, compare
from steer.hooks import Model

from ._request import text_in
from ._setting import Setting
from ._task import Arms, Metric, Result, Task

WINDOW = 1000
"""Characters of a text that are read at once, at most."""


@dataclass(frozen=True)
class Text:
    """A window of text.

    Attributes:
        id: its number, from 0.
        text: at most `WINDOW` characters.
    """

    id: int
    text: str

    @property
    def shown(self) -> dict[str, Any]:
        """What `rows.jsonl` says about it: the beginning will do."""
        return {"text": self.text[:80]}


def windows(rows: Iterable[Row]) -> Iterator[Row]:
    """Texts cut at white space into windows.

    Rows with a `line` number, or with blank ones among them, are the lines of one text (wikitext-2
    in a file and on the hub); otherwise each row is a text of its own.
    """
    rows = list(rows)
    lines = [str(row.get("text", "")) for row in rows]
    if rows and all("line" in row or "text" in row for row in rows) and _are_lines(rows, lines):
        whole = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
        rows = [{"text": whole}]
    for number, row in enumerate(rows):
        for piece in _cut(text_in(row, number, "text")):
            yield {"text": piece}


def _are_lines(rows: list[Row], lines: list[str]) -> bool:
    return all("line" in row for row in rows) or not all(line.strip() for line in lines)


def _cut(text: str) -> Iterator[str]:
    """Pieces that end before white space, which begins the next, so that nothing is lost."""
    piece = ""
    for word in re.findall(r"\s*\S+|\s+$", text):
        if piece and len(piece) + len(word) > WINDOW:
            yield piece
            piece = ""
        piece += word
    if piece.strip():
        yield piece


def _item(row: Row, number: int) -> Text:
    return Text(number, str(row["text"]))


def _measure(setting: Setting, items: Sequence[Text], arms: Arms) -> dict[str, list[Result]]:
    rows = [setting.model.token_ids(item.text) for item in items]
    long = [n for n, ids in enumerate(rows) if len(ids) > 1]
    texts = [rows[n] for n in long]
    found = compare(setting.model, texts, arms, batch_tokens=setting.batch_tokens) if long else {}
    sizes = [_size(setting.model, item.text, ids) for item, ids in zip(items, rows, strict=True)]
    results: dict[str, list[Result]] = {}
    for name in arms:
        each = dict(zip(long, found.get(name, []), strict=True))
        results[name] = [_result(each.get(n), size) for n, size in enumerate(sizes)]
    return results


def _size(model: Model, text: str, ids: Sequence[int]) -> int:
    """Bytes of the tokens that are predicted: the first one is not, unless it is a start token."""
    if ids[:1] == [model.tokenizer.bos_token_id]:
        return len(text.encode())
    first = model.tokenizer.decode(list(ids[:1]))
    return len(text.encode()) - (len(first.encode()) if text.startswith(first) else 0)


def _result(found: Compared | None, size: int) -> Result:
    if found is None:  # a window of a single token, of which nothing is predicted
        return dict.fromkeys(("nll", "kl", "agreed", "bits")) | {"tokens": 0, "bytes": 0}
    return {
        "nll": found.nll / found.tokens,
        "kl": found.kl / found.tokens,
        "agreed": found.agreed / found.tokens,
        "bits": found.nll / math.log(2) / size,
        "tokens": found.tokens,
        "bytes": size,
    }


_PERPLEXITY = Metric(
    "perplexity",
    "e to the mean loss of a token",
    "lower",
    proportion=False,
    value="nll",
    weight="tokens",
    exponential=True,
)

PERPLEXITY = Task(
    name="perplexity",
    about="perplexity of running text, and bits per byte",
    source="built in, or any text: JSONL with a column text, .txt, wikitext-2, as --data FILE",
    licence="CC-BY-4.0 (built in)",
    metrics=(
        _PERPLEXITY,
        Metric("bits", "bits per byte", "lower", proportion=False, weight="bytes"),
    ),
    item=_item,
    measure=_measure,
    prompts=("plain",),
    named=("neutral",),
    default="neutral",
    prepare=windows,
)

KL = replace(
    PERPLEXITY,
    name="kl",
    about="KL divergence from the unsteered model on neutral text",
    metrics=(
        Metric("kl", "nats a token", "lower", proportion=False, weight="tokens"),
        Metric("agreed", "same likeliest token", "higher", proportion=False, weight="tokens"),
        _PERPLEXITY,
    ),
)
