"""`steer sweep`: many plans on one half of the items, the best confirmed on the other."""

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
    load,
    pairs_in,
    say,
    tuning_of,
)


def sweep(
    task: Annotated[str, typer.Argument(help="A task of `steer eval list`.")],
    model: ModelName = "smollm2",
    methods: Annotated[str, typer.Option(help="Methods, as caa,grains.")] = "caa",
    pairs: Pairs = None,
    layers: Annotated[str | None, typer.Option(help="Layers to try, as 10,14,18.")] = None,
    strengths: Annotated[str | None, typer.Option(help="Strengths to try, as 0.15,0.3.")] = None,
    metric: Annotated[str | None, typer.Option(help="What decides; default the first.")] = None,
    sources: Annotated[int, typer.Option(min=1, help="Items that give pairs, at most.")] = 150,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the integrated gradients.")] = 20,
    rungs: Annotated[
        int, typer.Option(min=1, help="Rounds of pruning; 1 measures every plan on everything.")
    ] = 3,
    side: Annotated[str, typer.Option(help="Side effect of every plan; none for none.")] = (
        "kl=neutral:12"
    ),
    side_limit: Annotated[float | None, typer.Option(help="Drop plans with a worse one.")] = None,
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
    """Try many layers, strengths and methods on one half; confirm the best on the other.

    Example: steer sweep truthfulqa --data truthfulqa.jsonl --methods caa,grains --out runs/sweep
    """
    from steer import sweep as run
    from steer._eval._items import data_of
    from steer._eval._report import write_report
    from steer._eval._share import device_of, leave
    from steer._methods import method_of
    from steer._tasks import task_of

    from ._print import show

    names = [name.strip() for name in methods.split(",")]
    # What is wrong shows before a model is loaded.
    data_of(task_of(task), data, limit, sample, seed)
    for name in names:
        method_of(name)
    tuning = tuning_of(layers, strengths, sources, steps, metric)
    learned = pairs_in(pairs)
    result = run(
        load(model, device if device_map else device_of(device), dtype, device_map),
        task,
        names,
        pairs=learned,
        tuning=tuning,
        rungs=rungs,
        side=None if side == "none" else side,
        side_limit=side_limit,
        data=data,
        limit=limit,
        sample=sample,
        prompt=prompt,
        system=system,
        max_new_tokens=max_new_tokens,
        judges=judge or None,
        controls=controls,
        randoms=randoms,
        costs=costs_of(cost, task),
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
