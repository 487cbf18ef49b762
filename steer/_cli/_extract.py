"""`steer extract`: contrastive pairs in, a plan out."""

from pathlib import Path
from typing import Annotated

import typer

from ._shared import Device, Dtype, ModelName, Quiet, Seed, layers_of, load, say


def extract(
    method: Annotated[str, typer.Argument(help="grains, caa or repe.")],
    pairs: Annotated[Path, typer.Option(help="JSONL rows with prompt, chosen and rejected.")],
    out: Annotated[Path, typer.Option(help="The plan, a safetensors file.")],
    model: ModelName = "smollm2",
    layers: Annotated[
        str | None, typer.Option(help="Such as 10,14; default 60 % of depth.")
    ] = None,
    strength: Annotated[float, typer.Option(help="Fraction of the layer's residual norm.")] = 0.1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Extract a steering plan from contrastive pairs.

    Example: steer extract grains --model smollm2 --pairs pairs.jsonl --out plan.safetensors
    """
    from steer import extract as extract_plan
    from steer._files import read_rows
    from steer._methods import method_of

    method_of(method)
    wanted, rows = layers_of(layers), read_rows(pairs)
    steered = load(model, device, dtype)
    plan = extract_plan(
        method, steered, rows, wanted, strength=strength, seed=seed, progress=not quiet
    )
    plan.save(out)
    say(plan, quiet=quiet)
    print(out)
