"""Measures what steering changes on a task: base and steered side by side, with controls."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from steer._judges import Judge
from steer.attribution import PairLike
from steer.hooks import DataError, Model, Plan, as_model

from ._costs import cost_jobs
from ._job import Job, job_of
from ._report import write_report
from ._rows import Rows
from ._run import Part, run_parts
from ._summary import summarise
from ._tune import overlap
from ._tuning import Tuning


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        summary: the numbers, as in `summary.json`.
        rows: each item's results under each arm, as in `rows.jsonl`; read from the disk as needed.
        plans: the plan of each arm that has one, by name; of the first fold, if there are several.
        mine: whether this process is the one that reports, of several that ran it together.
    """

    summary: dict[str, Any]
    rows: Rows
    plans: dict[str, Plan]
    mine: bool = True


def evaluate(
    model: Model | PreTrainedModel,
    task: str,
    plan: Plan | None = None,
    *,
    method: str | None = None,
    beside: Sequence[str] = (),
    pairs: Sequence[PairLike] | None = None,
    tuning: Tuning | None = None,
    folds: int = 1,
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
    """Evaluate a model on a task, unsteered and steered by a plan or by a method.

    With `method`, the items are split: on one part the plan is extracted and its layer and strength
    are chosen, the other is reported. With `plan`, all items are reported.

    Args:
        model: the model.
        task: a task of `TASKS`.
        plan: what to steer with.
        method: what to make a plan with instead, one of `METHODS`.
        beside: other methods, tuned in the same way and reported beside it.
        pairs: what methods learn from; None takes a part of the task's own items.
        tuning: what layers and strengths to try.
        folds: 1 reports one half; more report every item once, by plans tuned on the other folds.
        data: a file, a name that the task knows, or `hub:owner/name`; None is the task's default.
        limit: only the first so many items.
        sample: only so many items, drawn by the seed.
        prompt: a prompt format of the task; None is its first.
        system: system message of the chat template.
        max_new_tokens: tokens of an answer, at most; None is the task's own.
        judges: names (see `judge_of`) or functions by name; the first decides.
        controls: report the flipped vector, random ones of the same norm and, with a method, one
            from shuffled labels.
        randoms: how many random vectors; None is the task's own number.
        costs: other tasks to measure under the same plan, as `kl` or `hellaswag=FILE`.
        out: folder for `rows.jsonl`, `summary.json` and `report.html`; a run that was interrupted
            goes on from its rows.
        seed: of the split, the pairs, the random vectors and the bootstrap.
        batch_tokens: tokens in a batch.
        progress: show bars.

    Raises:
        TaskError: unknown task, method, prompt or judge. DataError: data that cannot be used.
        PlanError: a plan that does not fit. RunError: a folder that holds another run.
    """
    job = job_of(
        as_model(model),
        task,
        plan,
        methods=_methods(method, beside),
        pairs=pairs,
        tuning=tuning,
        folds=folds,
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
    return run(job, costs)


def _methods(method: str | None, beside: Sequence[str]) -> list[str]:
    """The methods, the one to report first.

    Raises:
        DataError: `beside` without a method.
    """
    if beside and method is None:
        raise DataError("evaluate: beside needs a method to stand beside")
    return list(dict.fromkeys([*([method] if method else []), *beside]))


def run(job: Job, costs: Sequence[str] = ()) -> Evaluation:
    """Run a job, and what its plans cost elsewhere.

    Raises:
        DataError: costs without a plan or a method.
        RunError: a folder that holds another run, or cannot be written.
    """
    started = time.monotonic()
    if costs and job.plan is None and not job.methods:
        raise DataError("evaluate: costs are those of a plan; give a plan or a method")
    cost_jobs(job, costs, [])  # what does not fit says so before anything is run
    rows = Rows(job.folder, job.identity, job.share)
    parts = job.parts()
    return reported(job, rows, parts, costs, started)


def reported(
    job: Job,
    rows: Rows,
    parts: Sequence[Part],
    costs: Sequence[str],
    started: float,
    more: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure the parts, and what their plans cost elsewhere, and write the report.

    Args:
        job: what is measured.
        rows: where the results go.
        parts: the items and arms.
        costs: other tasks.
        started: when the run began.
        more: what the summary says besides.
    """
    run_parts(job.task, job.setting, parts, rows, job.share)
    others = cost_jobs(job, costs, parts) if "steered" in parts[0].arms else {}
    briefs = {name: _brief(run(other).summary) for name, other in others.items()}
    seconds = time.monotonic() - started
    summary = summarise(rows, job.task, parts, job.identity, seconds)
    summary |= {"costs": briefs, **(more or {})}
    if shared := sum(overlap(job.pairs, part.items) for part in parts if job.pairs):
        summary["notes"].append(f"{shared} reported items occur in the pairs that were learnt from")
    if (folder := job.folder) is not None:
        job.share.once(lambda: write_report(folder, summary))
    plans = {name: plan for name, plan in parts[0].arms.items() if plan is not None}
    return Evaluation(summary, rows, plans, job.share.first)


def _brief(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a report needs of a cost."""
    names = ("items", "metrics", "base", "steered", "delta", "data", "origin")
    return {name: summary[name] for name in names}
