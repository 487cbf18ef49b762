"""Measures what steering changes on a task: base and steered side by side, with controls."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from steer._methods import method_of
from steer._versions import versions
from steer.hooks import DataError, Model, Plan, PlanError, as_model, attach

from ._arms import with_controls
from ._report import write_report
from ._rows import Rows
from ._run import run_arms
from ._setting import Setting
from ._summary import summarise
from ._tasks import prompt_of, task_of
from ._tune import Tuning, halves, tuned_plans


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        summary: the numbers, as in `summary.json`.
        rows: each item's results under each arm, as in `rows.jsonl`.
        plans: the plan of each arm that has one, by name.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    plans: dict[str, Plan]


def evaluate(
    model: Model | PreTrainedModel,
    task: str,
    plan: Plan | None = None,
    *,
    method: str | None = None,
    beside: Sequence[str] = (),
    tuning: Tuning | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    prompt: str = "qa",
    controls: bool = True,
    out: str | Path | None = None,
    seed: int = 0,
    batch_tokens: int = 1024,
    progress: bool = False,
) -> Evaluation:
    """Evaluate a model on a task, unsteered and steered by a plan or by a method.

    With `method`, the questions are split in two: on one half the plan is extracted and its layer
    and strength are chosen, the other half is reported. With `plan`, all questions are reported.

    Args:
        model: the model.
        task: `truthfulqa` or `misconceptions`.
        plan: what to steer with.
        method: what to make a plan with instead: `caa`, `grains` or `repe`.
        beside: other methods, tuned in the same way and reported beside it.
        tuning: what layers and strengths to try.
        data: a CSV or JSONL file in TruthfulQA's columns.
        limit: only the first so many questions.
        prompt: `qa` or `primer`.
        controls: report the flipped vector and five random ones of the same norm as well.
        out: folder for `rows.jsonl`, `summary.json` and `report.html`; a run that was interrupted
            goes on from its rows.
        seed: of the split, the pairs, the random vectors and the bootstrap.
        batch_tokens: tokens in a batch.
        progress: show bars.

    Raises:
        TaskError: unknown task, method or prompt. DataError: data that cannot be used.
        PlanError: a plan that does not fit. RunError: a folder that holds another run.
    """
    started = time.monotonic()
    methods = _checked(plan, method, beside, seed)
    questions, data_hash = task_of(task).questions(data, limit)
    setting = Setting(as_model(model), prompt_of(prompt), seed, batch_tokens, progress)
    tuning = tuning or Tuning()
    identity = {
        "task": task,
        "model": setting.model.name,
        "revision": setting.model.revision,
        "dtype": str(setting.model.dtype).removeprefix("torch."),
        "data": data_hash,
        "limit": limit,
        "prompt": prompt,
        "plan": plan.hash if plan is not None else None,
        "methods": methods,
        "tried": asdict(tuning) if methods else None,
        "controls": controls,
        "batch_tokens": batch_tokens,
        "seed": seed,
        "versions": versions(),
    }
    # What does not fit must say so before it leaves its mark on the folder.
    mine, questions = halves(questions, seed) if methods else ([], questions)
    tuning.layers_in(setting.model)
    with attach(setting.model, plan):
        pass
    folder = None if out is None else Path(out)
    rows = Rows(folder, identity)
    plans = {} if plan is None else {"steered": plan}
    chosen: dict[str, dict[str, Any]] = {}
    if methods:
        made, chosen = tuned_plans(methods, setting, mine, tuning, folder)
        plans = {"steered": made[methods[0]], **{name: made[name] for name in methods[1:]}}
    arms: dict[str, Plan | None] = {"base": None, **plans}
    if controls and "steered" in plans:
        arms |= with_controls(plans["steered"], seed)
    found = run_arms(setting, questions, arms, rows)
    summary = summarise(found, arms, identity, chosen, time.monotonic() - started)
    if folder is not None:
        write_report(folder, summary)
    return Evaluation(summary, found, {n: p for n, p in arms.items() if p is not None})


def _checked(plan: Plan | None, method: str | None, beside: Sequence[str], seed: int) -> list[str]:
    """The methods, the one to report first.

    Raises:
        DataError: plan and method at once, `beside` without a method, or a seed out of range.
        PlanError: what is given as a plan is none. TaskError: unknown method.
    """
    if not 0 <= seed < 2**32:
        raise DataError(f"evaluate: expected a seed from 0 to 2**32 - 1, got {seed}")
    if plan is not None and not isinstance(plan, Plan):
        raise PlanError(f"evaluate: expected a Plan, got {type(plan).__name__}; see Plan.load")
    if plan is not None and method is not None:
        raise DataError("evaluate: give a plan or a method, not both")
    if beside and method is None:
        raise DataError("evaluate: beside needs a method to stand beside")
    methods = list(dict.fromkeys([*([method] if method else []), *beside]))
    for name in methods:
        method_of(name)
    return methods
