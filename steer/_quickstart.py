"""The main job, end to end: a real model, a steering vector, and what it measurably changed."""

import json
import time
from pathlib import Path
from typing import Any

import torch

from steer.hooks import Model, Plan

from ._eval import Tuning, evaluate
from ._eval._report import write_report
from ._scoring import Asked, answers
from ._tasks import TEMPLATES


def _tuning(model: Model) -> Tuning:
    """Less than elsewhere, to stay within a few minutes on two cores."""
    return Tuning(
        layers=tuple(sorted({int(depth * model.n_layers) for depth in (0.4, 0.5, 0.6)})),
        strengths=(0.15, 0.3, 0.45),
        sources=40,
        options={"grains": {"steps": 8}},
    )


def quickstart(
    model: Model,
    out: str | Path,
    *,
    seed: int = 0,
    command: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Extract, tune and evaluate GrAInS and CAA on the built-in questions; write the report.

    Args:
        model: the model.
        out: folder for `rows.jsonl`, `summary.json`, `report.html` and the plans.
        seed: of every random choice.
        command: what the report names to get the same numbers.
        progress: show bars.

    Returns:
        The summary, with two example answers.
    """
    folder, started = Path(out), time.monotonic()
    result = evaluate(
        model,
        "misconceptions",
        method="grains",
        beside=["caa"],
        tuning=_tuning(model),
        costs=["kl=neutral:24"],
        out=folder,
        seed=seed,
        progress=progress,
    )
    questions = [row["question"] for row in result.rows[:2]]
    examples = side_by_side(model, result.plans["steered"], questions)
    summary = result.summary | {"examples": examples}
    summary["seconds"] = round(time.monotonic() - started, 1)
    write_report(folder, summary, command)
    return summary


def side_by_side(
    model: Model, plan: Plan, questions: list[str], max_new_tokens: int = 40
) -> list[dict[str, str]]:
    """Greedy answers of the model alone and steered, up to where it would ask itself the next."""
    asked = [Asked(TEMPLATES["qa"].format(question=question)) for question in questions]
    base, steered = answers(model, asked, [None, plan], max_new_tokens=max_new_tokens)
    return [
        {"question": q, "base": _first(b.text), "steered": _first(s.text)}
        for q, b, s in zip(questions, base, steered, strict=True)
    ]


def _first(answer: str) -> str:
    return answer.split("\nQ:")[0].strip()


def dtype_for(out: str | Path) -> str:
    """The dtype of a run that is to go on, or the quickest here."""
    try:
        return str(json.loads((Path(out) / "run.json").read_text(encoding="utf-8"))["dtype"])
    except (OSError, ValueError, KeyError, TypeError):
        return quickest_dtype()


def quickest_dtype() -> str:
    """`bfloat16` if this machine multiplies matrices faster in it, else `float32`; `auto` on a GPU.

    Old CPUs emulate bfloat16 many times slower than float32, new ones run it twice as fast, so it
    is measured: a few milliseconds.
    """
    if torch.cuda.is_available():
        return "auto"
    return min(("float32", "bfloat16"), key=lambda name: _seconds(getattr(torch, name)))


def _seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(256, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    torch.mm(left, right)  # the first call sets up the kernel
    started = time.perf_counter()
    for _ in range(10):
        torch.mm(left, right)
    return time.perf_counter() - started
