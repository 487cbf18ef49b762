"""Options and output that the commands share."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
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
Out = Annotated[Path | None, typer.Option(help="Folder for rows.jsonl, summary.json, report.html.")]
BatchTokens = Annotated[int, typer.Option(help="Tokens in a batch; lower it if memory runs out.")]


def load(name: str, device: str, dtype: str) -> "Model":
    """Load a model without the chatter of its library."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers.utils import logging

    from steer import load as load_model

    logging.disable_progress_bar()
    return load_model(name, device=device, dtype=dtype)


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
