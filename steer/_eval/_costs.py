"""What the same plan costs elsewhere: other tasks, measured in the same way without controls."""

import hashlib
import re
from collections.abc import Sequence

from steer._tasks import task_of
from steer.hooks import DataError, Plan

from ._items import data_of
from ._job import Job, setting_of
from ._run import Part


def cost_jobs(job: Job, costs: Sequence[str], parts: Sequence[Part]) -> dict[str, Job]:
    """A job for each other task, and for each fold where each has a plan of its own.

    Args:
        job: what was measured.
        costs: tasks, as `kl` or `hellaswag=FILE`, and with a number of items `gsm8k=FILE:50`.
        parts: the plans; none only checks the tasks and their data.

    Raises:
        TaskError: unknown task. DataError: data that cannot be used.
    """
    plans = [part.arms.get("steered") for part in parts] or [None]
    jobs = {}
    for cost in costs:
        for fold, plan in enumerate(plans):
            name = cost if len(plans) == 1 else f"{cost} fold {fold}"
            jobs[name] = _cost_job(job, cost, plan, name)
    return jobs


def _cost_job(job: Job, cost: str, plan: Plan | None, name: str) -> Job:
    task, data, skip, limit = parsed(cost)
    setting = job.setting
    about = task_of(task)
    folder = re.sub(r"[^\w-]", "-", name)
    if folder != name:  # two names must not meet in one folder
        folder += f"-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return Job(
        about,
        setting_of(
            about,
            setting.model,
            prompt=None,
            system=None,
            max_new_tokens=None,
            judges=None,
            seed=setting.seed,
            batch_tokens=setting.batch_tokens,
            progress=setting.progress,
        ),
        data_of(about, data, limit, seed=setting.seed, skip=skip),
        plan,
        folder=None if job.folder is None else job.folder / "costs" / folder,
        share=job.share,
    )


def parsed(cost: str) -> tuple[str, str | None, int, int | None]:
    """Task, data, items to skip and items to take of `task`, `task=data` or `task=data:limit`.

    `task=data:12-60` takes the items from number 12 to 59.

    Raises:
        DataError: an empty task or data, or an empty range.
    """
    task, equals, rest = cost.partition("=")
    found = re.fullmatch(r"(.*?)(?::(?:(\d+)-)?(\d+))?", rest)
    data, first, last = found.groups() if found else (rest, None, None)
    skip = int(first or 0)
    limit = None if last is None else int(last) - skip
    if not task or (equals and not data) or (first is not None and limit is not None and limit < 1):
        raise DataError(f"cost {cost!r}: expected TASK, TASK=DATA, TASK=DATA:N or TASK=DATA:N-M")
    return task, data or None, skip, limit
