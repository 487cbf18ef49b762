"""Options and output that the commands share."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from steer._eval import Tuning
    from steer.attribution import Pair
    from steer.hooks import Model

T = TypeVar("T")

ModelName = Annotated[
    str, typer.Option("--model", help="Zoo name, local folder, GGUF file or hub id.")
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, …; auto takes a GPU if there is one.")
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16; auto is float32 on a CPU.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of every random choice.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Data = Annotated[
    str | None,
    typer.Option(help="A file (CSV, JSONL), a name of `steer eval list`, or hub:owner/name."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first items.")]
Sample = Annotated[int | None, typer.Option(min=1, help="Only so many items, drawn by the seed.")]
Prompt = Annotated[
    str | None, typer.Option(help="qa or primer for choices; chat, qa or plain for answers.")
]
System = Annotated[str | None, typer.Option(help="System message of the chat template.")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="Tokens of an answer, at most.")]
Judges = Annotated[
    list[str] | None,
    typer.Option(help="phrases, model:NAME or http://host/v1#name; the first decides."),
]
Costs = Annotated[
    list[str] | None,
    typer.Option(help="Another task under the same plan, as hellaswag=FILE:100; none for none."),
]
Pairs = Annotated[
    Path | None, typer.Option(help="JSONL rows with prompt, chosen and rejected to learn from.")
]
DeviceMap = Annotated[
    str | None, typer.Option(help="auto spreads a large model over GPUs, RAM and disk.")
]
Out = Annotated[Path | None, typer.Option(help="Folder for rows.jsonl, summary.json, report.html.")]
BatchTokens = Annotated[int, typer.Option(help="Tokens in a batch; lower it if memory runs out.")]


def load(name: str, device: str, dtype: str, device_map: str | None = None) -> "Model":
    """Load a model without the chatter of its library."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers.utils import logging

    from steer import load as load_model

    logging.disable_progress_bar()
    options: dict[str, Any] = {} if device_map is None else {"device_map": device_map}
    return load_model(name, device=device, dtype=dtype, **options)


def command() -> str:
    """The command line that is running."""
    return shlex.join(["steer", *sys.argv[1:]])


def costs_of(given: list[str] | None, task: str) -> list[str]:
    """The other tasks to measure under the same plan: `kl` unless the user says otherwise."""
    if given is None:
        return [] if task in ("kl", "perplexity") else ["kl=neutral:12-60"]
    return [cost for cost in given if cost != "none"]


def tuning_of(
    layers: str | None,
    strengths: str | None,
    sources: int,
    steps: int,
    metric: str | None = None,
) -> "Tuning":
    """What methods try, from the options of the command line.

    Raises:
        typer.BadParameter: layers or strengths that are no list.
    """
    from steer import Tuning

    wanted = layers_of(layers)
    return Tuning(
        layers=tuple(wanted) if wanted else None,
        strengths=strengths_of(strengths) or Tuning.strengths,
        sources=sources,
        options={"grains": {"steps": steps}},
        metric=metric,
    )


def pairs_in(path: Path | None) -> "list[Pair] | None":
    """The pairs of a file; None stays None.

    Raises:
        DataError: no such file, or a pair that is broken.
    """
    if path is None:
        return None
    from steer._files import read_rows
    from steer.attribution import as_pairs
    from steer.hooks import DataError

    rows = read_rows(path)
    try:
        return as_pairs(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def say(*words: Any, quiet: bool = False) -> None:
    """A line on stderr, where progress goes."""
    if not quiet:
        print("steer:", *words, file=sys.stderr)


def layers_of(text: str | None) -> list[int] | None:
    """`10,14` as a list; None stays None.

    Raises:
        typer.BadParameter: if it is no list of whole numbers.
    """
    return None if text is None else _listed(text, int, "layers as 10,14")


def strengths_of(text: str | None) -> tuple[float, ...] | None:
    """`0.15,0.3` as a tuple; None stays None.

    Raises:
        typer.BadParameter: if it is no list of numbers.
    """
    return None if text is None else tuple(_listed(text, float, "strengths as 0.15,0.3"))


def _listed(text: str, kind: Callable[[str], T], what: str) -> list[T]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"expected {what}, got {text!r}") from error
