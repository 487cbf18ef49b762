"""Options and output that the commands share."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from steer.hooks import Model

ModelName = Annotated[
    str, typer.Option("--model", help="Zoo name, local folder, GGUF file or hub id.")
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, …; auto takes a GPU if there is one.")
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16; auto is float32 on a CPU.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
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
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"expected layers as 10,14, got {text!r}") from error
