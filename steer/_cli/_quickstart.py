"""`steer quickstart`: the main job of the README."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ._shared import Device, ModelName, Quiet, Seed, load, say


def quickstart(
    model: ModelName = "smollm2",
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("quickstart"),
    device: Device = "auto",
    dtype: Annotated[
        str, typer.Option(help="float32 or bfloat16; auto measures which is quicker here.")
    ] = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Steer a small model and measure what it changed, from nothing to a report.

    Pulls the model, extracts a GrAInS vector, tunes layer and strength on one half of the built-in
    questions, and evaluates base, CAA, GrAInS, the flipped vector and random vectors on the other.

    Example: steer quickstart --out quickstart
    """
    from steer._quickstart import dtype_for
    from steer._quickstart import quickstart as run

    from ._print import show

    dtype = dtype_for(out) if dtype == "auto" and device in ("auto", "cpu") else dtype
    loaded = load(model, device, dtype)
    say(loaded, quiet=quiet)
    words = ["steer", "quickstart", "--model", model, "--out", str(out), "--device", device]
    words += ["--dtype", dtype, "--seed", str(seed)]
    summary = run(loaded, out, seed=seed, command=shlex.join(words), progress=not quiet)
    show(summary)
    for example in summary["examples"]:
        print(f"\nQ: {example['question']}")
        print(f"  base:    {' '.join(example['base'].split())}")
        print(f"  steered: {' '.join(example['steered'].split())}")
    say(f"wrote {out / 'report.html'}", quiet=quiet)
