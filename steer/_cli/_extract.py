"""`steer extract`: contrastive pairs in, a plan out."""

from pathlib import Path
from typing import Annotated

import typer

from ._shared import (
    BatchTokens,
    Device,
    Dtype,
    ModelName,
    Quiet,
    Seed,
    layers_of,
    load,
    pairs_in,
    say,
)


def extract(
    method: Annotated[str, typer.Argument(help="grains, caa or repe.")],
    pairs: Annotated[Path, typer.Option(help="JSONL rows with prompt, chosen and rejected.")],
    out: Annotated[Path, typer.Option(help="The plan, a safetensors file.")],
    model: ModelName = "smollm2",
    layers: Annotated[
        str | None, typer.Option(help="Such as 10,14; default 60 % of depth.")
    ] = None,
    strength: Annotated[float, typer.Option(help="Fraction of the layer's residual norm.")] = 0.1,
    span: Annotated[str, typer.Option(help="Edited tokens: all, prompt, generated, last.")] = "all",
    over: Annotated[str, typer.Option(help="GrAInS: from the prompt, or answer too.")] = "answer",
    k: Annotated[int, typer.Option("-k", help="GrAInS: tokens in each set.")] = 10,
    steps: Annotated[int, typer.Option(help="GrAInS: steps of the integrated gradients.")] = 20,
    batch_tokens: BatchTokens = 1024,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Extract a steering plan from contrastive pairs.

    Example: steer extract grains --model smollm2 --pairs pairs.jsonl --out plan.safetensors
    """
    from steer import extract as extract_plan
    from steer._methods import method_of

    method_of(method)
    wanted, checked = layers_of(layers), pairs_in(pairs)
    options = {"over": over, "k": k, "steps": steps} if method == "grains" else {}
    plan = extract_plan(
        method,
        load(model, device, dtype),
        checked or (),
        wanted,
        strength=strength,
        span=span,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=not quiet,
        **options,
    )
    plan.save(out)
    say(plan, quiet=quiet)
    print(out)
