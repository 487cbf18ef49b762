"""`steer eval`: base and steered side by side on a task."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ._shared import (
    BatchTokens,
    Device,
    Dtype,
    ModelName,
    Out,
    Quiet,
    Seed,
    layers_of,
    load,
    say,
    strengths_of,
)


def evaluate(
    task: Annotated[str, typer.Argument(help="A task, or `list` to name them.")],
    model: ModelName = "smollm2",
    plan: Annotated[Path | None, typer.Option(help="A plan of `steer extract`.")] = None,
    method: Annotated[
        str | None, typer.Option(help="caa, grains or repe: make and tune a plan on one half.")
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another method to tune and report beside it.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Layers that tuning tries, as 14,18.")] = None,
    strengths: Annotated[
        str | None, typer.Option(help="Strengths that tuning tries, as 0.15,0.3.")
    ] = None,
    sources: Annotated[int, typer.Option(min=1, help="Questions that give pairs, at most.")] = 150,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the integrated gradients.")] = 20,
    data: Annotated[
        Path | None, typer.Option(help="CSV or JSONL in the benchmark's columns.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first questions.")] = None,
    prompt: Annotated[str, typer.Option(help="qa or primer.")] = "qa",
    controls: Annotated[bool, typer.Option(help="Report flipped and random vectors too.")] = True,
    out: Out = None,
    batch_tokens: BatchTokens = 1024,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Evaluate a model on a task, unsteered and steered.

    Example: steer eval truthfulqa --model smollm2 --data truthfulqa.jsonl --plan plan.safetensors
    """
    from steer import Plan, Tuning
    from steer import evaluate as run
    from steer._eval._report import write_report
    from steer._eval._tasks import TASKS, prompt_of, task_of
    from steer._methods import method_of

    from ._print import table

    if task == "list":
        for item in TASKS.values():
            print(f"{item.name:15} {item.about}; {item.licence}; {item.source}")
        return
    task_of(task).file(data)
    prompt_of(prompt)
    for name in [*([method] if method else []), *(beside or ())]:
        method_of(name)
    wanted = layers_of(layers)
    given = None if plan is None else Plan.load(plan)
    result = run(
        load(model, device, dtype),
        task,
        given,
        method=method,
        beside=beside or (),
        tuning=Tuning(
            layers=tuple(wanted) if wanted else None,
            strengths=strengths_of(strengths) or Tuning.strengths,
            sources=sources,
            options={"grains": {"steps": steps}},
        ),
        data=data,
        limit=limit,
        prompt=prompt,
        controls=controls,
        out=out,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=not quiet,
    )
    table(result.summary)
    if out is not None:
        write_report(out, result.summary, shlex.join(["steer", *sys.argv[1:]]))
        say(f"wrote {out / 'report.html'}", quiet=quiet)
