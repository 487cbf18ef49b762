"""TruthfulQA's two multiple-choice tasks of lm-evaluation-harness on a local file.

The tasks are lm-eval's own YAML files; only where the data comes from is replaced.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

Values = dict[str, list[float]]
"""`mc1` and `mc2` of each question, in the order of the file."""


def write_tasks(data: Path, folder: Path) -> None:
    """TruthfulQA's JSON lines as the hub's `multiple_choice` columns, and tasks that read them."""
    import lm_eval

    own = Path(lm_eval.__file__).parent / "tasks" / "truthfulqa"
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    path = folder / "multiple_choice.jsonl"
    path.write_text("".join(json.dumps(_as_on_hub(row)) + "\n" for row in rows), encoding="utf-8")
    for name in ("mc1", "mc2"):
        task = {
            "include": str(own / f"truthfulqa_{name}.yaml"),
            "task": f"local_truthfulqa_{name}",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {
                "data_files": {"validation": str(path)},
                "cache_dir": str(folder / "cache"),
            },
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def _as_on_hub(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"question": row["question"]}
    for name in ("mc1_targets", "mc2_targets"):
        labels = list(row[name].values())
        # lm-eval takes the first choice of mc1 for the true one.
        assert name == "mc2_targets" or labels == [1] + [0] * (len(labels) - 1), row["question"]
        found[name] = {"choices": list(row[name]), "labels": labels}
    return found


def read_tasks(folder: Path) -> Any:
    """What `lm_eval.evaluate` takes, data loaded."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    names = ["local_truthfulqa_mc1", "local_truthfulqa_mc2"]
    return TaskManager(include_path=str(folder), include_defaults=False).load(names)


def run(lm: Any, tasks: Any, limit: int) -> tuple[Values, float, float]:
    """Both tasks in one evaluation, where equal requests are run once.

    Returns:
        The values, the seconds, and those among them in which requests were built.
    """
    import lm_eval

    with _timed(tasks) as building:
        started = time.perf_counter()
        found = lm_eval.evaluate(lm, tasks, limit=limit, bootstrap_iters=0)
        seconds = time.perf_counter() - started
    assert found is not None
    values = {}
    for name in ("mc1", "mc2"):
        samples = sorted(found["samples"][f"local_truthfulqa_{name}"], key=lambda s: s["doc_id"])
        values[name] = [float(sample["acc"]) for sample in samples]
    return values, seconds, sum(building)


@contextmanager
def _timed(tasks: Any) -> Iterator[list[float]]:
    taken: list[float] = []

    def timed(build: Any) -> Any:
        def build_all_requests(*args: Any, **kwargs: Any) -> None:
            started = time.perf_counter()
            build(*args, **kwargs)
            taken.append(time.perf_counter() - started)

        return build_all_requests

    some = list(tasks["tasks"].values())
    for task in some:
        task.build_all_requests = timed(task.build_all_requests)
    try:
        yield taken
    finally:
        for task in some:
            del task.build_all_requests  # the class's own is there again
