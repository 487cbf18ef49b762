"""`steer eval`: base and steered side by side on a task."""

from pathlib import Path
from typing import Annotated

import typer

from ._shared import (
    BatchTokens,
    Costs,
    Data,
    Device,
    DeviceMap,
    Dtype,
    Judges,
    Limit,
    MaxNewTokens,
    ModelName,
    Out,
    Pairs,
    Prompt,
    Quiet,
    Sample,
    Seed,
    System,
    command,
    costs_of,
    layers_of,
    load,
    pairs_in,
    say,
    strengths_of,
    tuning_of,
)


def evaluate(
    task: Annotated[str, typer.Argument(help="A task, or `list` to name them.")],
    model: ModelName = "smollm2",
    plan: Annotated[Path | None, typer.Option(help="A plan of `steer extract`.")] = None,
    method: Annotated[
        str | None, typer.Option(help="caa, grains or repe: make and tune a plan on one part.")
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another method to tune and report beside it.")
    ] = None,
    pairs: Pairs = None,
    folds: Annotated[
        int, typer.Option(min=1, help="2 reports every item once, tuned on the other fold.")
    ] = 1,
    layers: Annotated[str | None, typer.Option(help="Layers that tuning tries, as 14,18.")] = None,
    strengths: Annotated[
        str | None, typer.Option(help="Strengths that tuning tries, as 0.15,0.3.")
    ] = None,
    sources: Annotated[int, typer.Option(min=1, help="Items that give pairs, at most.")] = 150,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the integrated gradients.")] = 20,
    data: Data = None,
    limit: Limit = None,
    sample: Sample = None,
    prompt: Prompt = None,
    system: System = None,
    max_new_tokens: MaxNewTokens = None,
    judge: Judges = None,
    controls: Annotated[bool, typer.Option(help="Report what should do nothing, too.")] = True,
    randoms: Annotated[
        int | None, typer.Option(min=0, help="Random vectors; default 5, or 2 for answers.")
    ] = None,
    cost: Costs = None,
    out: Out = None,
    batch_tokens: BatchTokens = 1024,
    device: Device = "auto",
    device_map: DeviceMap = None,
    dtype: Dtype = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Evaluate a model on a task, unsteered and steered.

    Example: steer eval truthfulqa --model smollm2 --data truthfulqa.jsonl --plan plan.safetensors
    """
    from steer import Plan
    from steer import evaluate as run
    from steer._eval._items import data_of
    from steer._eval._report import write_report
    from steer._eval._share import device_of, leave
    from steer._methods import method_of
    from steer._sources import NAMED
    from steer._tasks import TASKS, task_of
    from steer.hooks import DataError

    from ._print import show

    if task == "list":
        for item in TASKS.values():
            print(f"{item.name:22} {item.about}; {item.licence}; {item.source}")
            named = (f"{name} ({NAMED[name].licence})" for name in item.named)
            if item.named:
                print(f"{'':22} --data {', '.join(named)}; without it {item.default}")
        return
    # What is wrong shows before a model is loaded.
    data_of(task_of(task), data, limit, sample, seed)
    for name in [*([method] if method else []), *(beside or ())]:
        method_of(name)
    tuning, learned = tuning_of(layers, strengths, sources, steps), pairs_in(pairs)
    if not method and (layers_of(layers) or strengths_of(strengths)):
        raise DataError("eval: --layers and --strengths are what --method tries; name a method")
    given = None if plan is None else Plan.load(plan)
    result = run(
        load(model, device if device_map else device_of(device), dtype, device_map),
        task,
        given,
        method=method,
        beside=beside or (),
        pairs=learned,
        tuning=tuning,
        folds=folds,
        data=data,
        limit=limit,
        sample=sample,
        prompt=prompt,
        system=system,
        max_new_tokens=max_new_tokens,
        judges=judge or None,
        controls=controls,
        randoms=randoms,
        costs=costs_of(cost, task) if plan or method or cost else [],
        out=out,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=not quiet,
    )
    leave()
    if not result.mine:
        return
    show(result.summary)
    if out is not None:
        write_report(out, result.summary, command())
        say(f"wrote {out / 'report.html'}", quiet=quiet)
