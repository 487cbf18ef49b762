"""Many layers, strengths and methods on the tuning part, the best confirmed on the held-out one."""

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from steer._judges import Judge
from steer._tasks import Metric
from steer.attribution import Pair, PairLike
from steer.hooks import DataError, Model, Plan, RunError, as_model

from ._costs import cost_jobs
from ._evaluate import Evaluation, reported
from ._grid import Grid, Point, best_of
from ._job import Job, job_of
from ._race import race
from ._rows import Rows
from ._run import Part
from ._tune import Tuner, loaded
from ._tuning import Tuning


def sweep(
    model: Model | PreTrainedModel,
    task: str,
    methods: Sequence[str] = ("caa",),
    *,
    pairs: Sequence[PairLike] | None = None,
    tuning: Tuning | None = None,
    rungs: int = 3,
    side: str | None = "kl=neutral:12",
    side_limit: float | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    sample: int | None = None,
    prompt: str | None = None,
    system: str | None = None,
    max_new_tokens: int | None = None,
    judges: Sequence[str] | Mapping[str, Judge] | None = None,
    controls: bool = True,
    randoms: int | None = None,
    costs: Sequence[str] = (),
    out: str | Path | None = None,
    seed: int = 0,
    batch_tokens: int = 1024,
    progress: bool = False,
) -> Evaluation:
    """Try many plans on one half of the items and confirm the best on the other half.

    Args:
        model: the model.
        task: a task of `TASKS`.
        methods: what makes the plans.
        pairs: what they learn from; None takes a part of the tuning half.
        tuning: layers, strengths and the metric that decides.
        rungs: rounds of early pruning, each on twice the items; 1 measures all plans on all items.
        side: a task that measures the side effect of every plan, as in `evaluate`'s costs; None
            measures none.
        side_limit: plans whose side effect is worse than this are dropped.
        data: as in `evaluate`, like everything that follows.
        limit: only the first so many items.
        sample: only so many items, drawn by the seed.
        prompt: a prompt format of the task.
        system: system message of the chat template.
        max_new_tokens: tokens of an answer, at most.
        judges: names or functions by name.
        controls: hold the best plan against what should do nothing.
        randoms: how many random vectors.
        costs: other tasks to measure under the best plan.
        out: folder of the results and of the best plan, where an interrupted sweep goes on.
        seed: of every random choice.
        batch_tokens: tokens in a batch.
        progress: show bars.

    Returns:
        The evaluation of the best plan on the held-out half; its summary holds the `sweep`.

    Raises:
        DataError: nothing to try, a side limit without a side effect, or no plan within it.
            Otherwise as `evaluate`.
    """
    started = time.monotonic()
    if not methods or rungs < 1:
        raise DataError(f"sweep: needs methods and at least one rung, got {methods}, {rungs}")
    if side is None and side_limit is not None:
        raise DataError(f"sweep: the side limit {side_limit} needs a side effect; give a side, too")
    job = job_of(
        as_model(model),
        task,
        None,
        methods=list(dict.fromkeys(methods)),
        pairs=pairs,
        tuning=tuning,
        folds=1,
        data=data,
        limit=limit,
        sample=sample,
        prompt=prompt,
        system=system,
        max_new_tokens=max_new_tokens,
        judges=judges,
        controls=controls,
        randoms=randoms,
        out=out,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    cost_jobs(job, costs, [])
    beside = None if side is None else cost_jobs(job, [side], [])[side]
    swept = {"rungs": rungs, "side": side, "side_limit": side_limit}
    measured = {} if beside is None else {"side_data": beside.data.sha256}
    rows = Rows(job.folder, job.identity | {"sweep": swept | measured}, job.share)
    job.share.once(lambda: _free(job))
    part, found = _searched(job, beside, rungs, side_limit)
    job.share.once(lambda: _keep(job, found["best"]["method"], part))
    return reported(job, rows, [part], costs, started, {"sweep": swept | found})


def _free(job: Job) -> None:
    """Refuse a folder whose plans the sweep would not overwrite, before it begins.

    Raises:
        RunError: there is one.
    """
    if job.folder is None or (job.folder / "sweep.grid.jsonl").exists():
        return
    for path in (job.folder / f"{method}.safetensors" for method in job.methods):
        if path.exists():
            raise RunError(f"{path} is not what this run made; move it, or choose another --out")


def _searched(
    job: Job, beside: Job | None, rungs: int, side_limit: float | None
) -> tuple[Part, dict[str, Any]]:
    """The held-out items with the best plan's arms, and what the search found."""
    ((mine, theirs),) = job.splits()
    tuner = Tuner(job.task, job.setting, job.tuning, job.pairs, job.folder, job.share)
    learned, judges = tuner.divided(mine)
    plans = _plans(job, tuner, learned)
    sides = {} if beside is None else _sides(job, beside, plans)
    kept = plans
    if beside is not None and side_limit is not None:
        kept = _within(plans, sides, beside.task.main, side_limit)
    metric = job.tuning.metric_of(job.task)
    grid = Grid(job.task, job.setting, _log(job, "sweep"), job.share)
    raced = race(grid, kept, list(judges), metric, rungs)
    best = _point(best_of(raced.finished, metric))
    shuffled = tuner.kept(
        f"{best.method}.shuffled",
        partial(tuner.shuffled, best.method, learned, best.layer, best.strength),
    )
    name = None if beside is None else f"side: {beside.task.main.name}"
    dropped = [point._asdict() for point in plans if point not in kept]
    found = {
        "metric": metric.name,
        "side_metric": name,
        "points": [
            _plain(row | ({} if name is None else {name: sides[_point(row)]}))
            for row in [*raced.points, *dropped]
        ],
        "base": _plain(raced.base),
        "best": best._asdict(),
    }
    how: dict[str, Any] = {"items": len(judges), "pairs": len(learned)}
    how |= {"layer": best.layer, "strength": best.strength, "plan": plans[best].hash}
    return Part(theirs, job.arms(plans[best], None, shuffled), {best.method: how}), found


def _plans(job: Job, tuner: Tuner, learned: list[Pair]) -> dict[Point, Plan]:
    plans = {}
    for method in job.methods:
        layers = job.tuning.layers_in(job.setting.model)
        make = partial(tuner.extracted, method, learned, layers)
        whole = tuner.kept(f"{method}.extracted", make)
        for layer in whole.layers:
            for strength in job.tuning.strengths:
                plans[Point(method, layer, strength)] = whole.only(layer).at(strength)
    return plans


def _sides(job: Job, beside: Job, plans: dict[Point, Plan]) -> dict[Point, float]:
    """The side effect of every plan; NaN where no item has it."""
    grid = Grid(beside.task, beside.setting, _log(job, "side"), job.share)
    found = grid.means(plans, list(beside.data.items))
    return {_point(row): float(row.get(beside.task.main.name, math.nan)) for row in found}


def _within(
    plans: Mapping[Point, Plan], sides: Mapping[Point, float], metric: Metric, limit: float
) -> dict[Point, Plan]:
    """The plans whose side effect is no worse than the limit.

    Raises:
        DataError: there is none.
    """
    sign = -1 if metric.better == "higher" else 1
    kept = {point: plan for point, plan in plans.items() if sign * sides[point] <= sign * limit}
    if not kept:
        best = min(sides.values(), key=lambda value: sign * value)
        raise DataError(
            f"sweep: no plan is within the side limit {limit:g}; the best {metric.name} is "
            f"{best:.3g}; relax --side-limit, or try smaller strengths"
        )
    return kept


def _keep(job: Job, method: str, part: Part) -> None:
    """The confirmed plan as a file.

    Raises:
        RunError: there is another one.
    """
    if job.folder is None or (plan := part.arms["steered"]) is None:
        return
    path = job.folder / f"{method}.safetensors"
    if path.exists():
        loaded(path, plan.hash)
    else:
        plan.save(path)


def _point(row: Mapping[str, Any]) -> Point:
    return Point(row["method"], row["layer"], row["strength"])


def _log(job: Job, name: str) -> Path | None:
    return None if job.folder is None else job.folder / f"{name}.grid.jsonl"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null for what JSON cannot hold."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
