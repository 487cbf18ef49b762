"""TruthfulQA MC1 and MC2, base and steered, against lm-evaluation-harness in one run.

    pip install -e ".[eval]" "lm-eval[hf]==0.4.13"
    python benchmarks/truthfulqa_vs_lm_eval.py --data truthfulqa.jsonl --limit 100

Both ask the same questions in the primer format of the same model object in float32, without a plan
and with a seeded vector added to every token after a middle layer. lm-eval runs its own tasks (see
`_harness.py`), its `HFLM` with the fastest of three batch sizes, inside `steer.attach` where it is
steered; steer runs `evaluate` as a user would, intervals and all. Models and data are loaded
before, and lm-eval's building of requests is taken off its time.

Then: tokens that steer runs, padding included, beside the least possible; the share of its time
that the model takes; and the zero-shot `qa` format beside every choice's full sequence in batches
of equal numbers of rows, sorted by length, with the LM head on the continuations only.

`--data` is TruthfulQA as JSON lines with `question`, `mc1_targets` and `mc2_targets`. Exits with 1
if the values disagree; aims that are missed are named on stderr.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import _harness
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import steer
from steer._tasks._templates import TEMPLATES
from steer.attribution import answer_ids
from steer.hooks import Model, Plan

HARNESS_BATCHES = (1, 8, 16)
PLAIN_BATCHES = (1, 8, 16, 32)
TRIED = 8  # questions on which batch sizes are compared
AIMS = {
    "largest_difference": ("at most", 1e-3),
    "ratio": ("at least", 20),
    "tokens_to_least_where_choices_share_beginnings": ("at most", 1.15),
    "share_in_model": ("at least", 0.8),
    "qa_largest_difference": ("at most", 1e-3),
    "qa_ratio": ("at least", 2),
}

Tokens = list[tuple[list[int], list[list[int]]]]
"""Of each question: its prompt, and its distinct choices."""


@dataclass
class Watched:
    """What the model did."""

    tokens: int = 0
    seconds: float = 0.0


@contextmanager
def watching(model: Model) -> Iterator[Watched]:
    """Count tokens that enter the decoder, padding included, and time decoder and LM head."""
    seen, begun = Watched(), [0.0]

    def before(*_: Any) -> None:
        begun[0] = time.perf_counter()

    def after(_: nn.Module, __: Any, kwargs: Any, ___: Any) -> None:
        seen.seconds += time.perf_counter() - begun[0]
        ids = kwargs.get("input_ids")
        seen.tokens += 0 if ids is None else ids.numel()

    watched = (model.anatomy.decoder, model.hf.get_output_embeddings())
    handles = [m.register_forward_pre_hook(before, with_kwargs=True) for m in watched]
    handles += [m.register_forward_hook(after, with_kwargs=True) for m in watched]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def plan_for(model: Model, norm: float) -> Plan:
    layer = (model.n_layers - 1) // 2
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    return steer.add(steer.resid_post(layer), norm * normalize(vector, dim=0))


def fastest(sizes: Sequence[int], run: Any) -> int:
    """The batch size with which `run(size)` takes least time; the first run sets up kernels."""
    run(sizes[0])
    taken = {}
    for size in sizes:
        started = time.perf_counter()
        run(size)
        taken[size] = time.perf_counter() - started
    return min(taken, key=lambda size: taken[size])


def ours(
    model: Model, plan: Plan | None, prompt: str, data: Path, limit: int
) -> tuple[list[dict[str, Any]], float]:
    """The rows of an evaluation, and its seconds."""
    started = time.perf_counter()
    found = steer.evaluate(
        model, "truthfulqa", plan, prompt=prompt, controls=False, data=data, limit=limit
    )
    return list(found.rows), time.perf_counter() - started


def difference(rows: list[dict[str, Any]], arm: str, values: _harness.Values) -> float:
    assert len(rows) == len(values["mc1"]) == len(values["mc2"])
    return max(
        abs(row[arm][name] - value)
        for name in ("mc1", "mc2")
        for row, value in zip(rows, values[name], strict=True)
    )


def against_harness(
    model: Model, plan: Plan, data: Path, limit: int, folder: Path
) -> dict[str, Any]:
    """The primer format, base and steered, by both."""
    from lm_eval.models.huggingface import HFLM

    def harness(size: int) -> Any:
        return HFLM(pretrained=model.hf, tokenizer=model.tokenizer, batch_size=size)

    _harness.write_tasks(data, folder)
    tasks = _harness.read_tasks(folder)
    few = min(TRIED, limit)
    size = fastest(HARNESS_BATCHES, lambda size: _harness.run(harness(size), tasks, few))
    base, base_seconds, base_building = _harness.run(harness(size), tasks, limit)
    with steer.attach(model, plan):
        steered, steered_seconds, steered_building = _harness.run(harness(size), tasks, limit)
    arms = [base_seconds - base_building, steered_seconds - steered_building]
    ours(model, plan, "primer", data, few)  # sets up kernels
    rows, first = ours(model, plan, "primer", data, limit)
    seconds = [first, ours(model, plan, "primer", data, limit)[1]]
    # Both arms are the same work: the faster one is the less disturbed.
    theirs = 2 * min(arms)
    apart = {arm: difference(rows, arm, v) for arm, v in (("base", base), ("steered", steered))}
    return {
        "base_largest_difference": apart["base"],
        "steered_largest_difference": apart["steered"],
        "largest_difference": max(apart.values()),
        "base_mc2": _mean(base["mc2"]),
        "steered_mc2": _mean(steered["mc2"]),
        "lm_eval_batch_size": size,
        "lm_eval_seconds_base_and_steered": [round(s, 2) for s in arms],
        "lm_eval_seconds_building_requests": round(base_building + steered_building, 2),
        "steer_seconds_both_arms_twice": [round(s, 2) for s in seconds],
        "ratio": round(theirs / min(seconds), 2),
    }


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def work(model: Model, plan: Plan, data: Path, limit: int) -> dict[str, Any]:
    """What steer runs, and how much of its time that takes."""
    with watching(model) as seen:
        rows, seconds = ours(model, plan, "primer", data, limit)
    least, with_trees = least_tokens(token_ids(model, rows, "primer"))
    return {
        "tokens_run": seen.tokens,
        "tokens_least": 2 * least,  # base and steered
        "tokens_to_least": round(seen.tokens / (2 * least), 3),
        "tokens_to_least_where_choices_share_beginnings": round(seen.tokens / (2 * with_trees), 3),
        "share_in_model": round(seen.seconds / seconds, 3),
    }


def token_ids(model: Model, rows: list[dict[str, Any]], prompt: str) -> Tokens:
    found = []
    for row in rows:
        text = TEMPLATES[prompt].format(question=row["question"])
        pairs = [answer_ids(model, text, choice) for choice in row["choices"]]
        found.append((pairs[0][0], [choice for _, choice in pairs]))
    return found


def least_tokens(asked: Tokens) -> tuple[int, int]:
    """What has to be run if what all prompts begin with is run once.

    Returns:
        Distinct prompt tokens and the tokens of all choices; and the same where the choices of a
        question share what they begin with, and their last tokens, which are only predicted, are
        not run.
    """
    prompts = [prompt for prompt, _ in asked]
    columns = zip(*prompts, strict=False)
    shared = next((n for n, column in enumerate(columns) if len(set(column)) > 1), 0)
    heads = shared + sum(len(prompt) - shared for prompt in prompts)
    whole = sum(len(choice) for _, choices in asked for choice in choices)
    begun = sum(
        len({tuple(choice[:n]) for choice in choices for n in range(1, len(choice))})
        for _, choices in asked
    )
    return heads + whole, heads + begun


@torch.no_grad()
def plainly(model: Model, asked: Tokens, size: int) -> list[list[float]]:
    """Scores of full sequences, `size` rows a batch, longest first."""
    rows = [(p, c, q, n) for q, (p, choices) in enumerate(asked) for n, c in enumerate(choices)]
    rows.sort(key=lambda row: -len(row[0]) - len(row[1]))
    scores = [[0.0] * len(choices) for _, choices in asked]
    for at in range(0, len(rows), size):
        some = rows[at : at + size]
        batch = model.batch([p + c[:-1] for p, c, _, _ in some], pad="right")
        states = model.anatomy.decoder(**batch, use_cache=False).last_hidden_state
        read = [states[r, len(p) - 1 : len(p) + len(c) - 1] for r, (p, c, *_) in enumerate(some)]
        logits = model.logits(torch.cat(read))
        target = torch.tensor([i for _, c, *_ in some for i in c], device=logits.device)
        found = -cross_entropy(logits, target, reduction="none")
        parts = found.split([len(c) for _, c, *_ in some])
        for (_, _, q, n), part in zip(some, parts, strict=True):
            scores[q][n] = float(part.sum())
    return scores


def zero_shot(model: Model, data: Path, limit: int) -> dict[str, Any]:
    """The qa format, unsteered, against full sequences."""
    rows, _ = ours(model, None, "qa", data, min(TRIED, limit))
    few = token_ids(model, rows, "qa")
    size = fastest(PLAIN_BATCHES, lambda size: plainly(model, few, size))
    rows, seconds = ours(model, None, "qa", data, limit)
    started = time.perf_counter()
    scores = plainly(model, token_ids(model, rows, "qa"), size)
    plain = time.perf_counter() - started
    apart = [
        abs(one - other)
        for row, values in zip(rows, scores, strict=True)
        for one, other in zip(row["base"]["scores"], values, strict=True)
    ]
    return {
        "qa_largest_difference": max(apart),  # in nats
        "qa_batch_size": size,
        "qa_plain_seconds": round(plain, 2),
        "qa_steer_seconds": round(seconds, 2),
        "qa_ratio": round(plain / seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="TruthfulQA as JSON lines")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--limit", type=int, default=100, help="questions")
    parser.add_argument("--norm", type=float, default=12.0, help="of the added vector")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if left out")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    model = steer.load(given.model, dtype="float32")
    plan = plan_for(model, given.norm)
    with tempfile.TemporaryDirectory() as folder:
        figures = against_harness(model, plan, given.data, given.limit, Path(folder))
    figures |= work(model, plan, given.data, given.limit)
    figures |= zero_shot(model, given.data, given.limit)
    figures |= {
        "questions": given.limit,
        "threads": torch.get_num_threads(),
        "device": str(model.device),
        "versions": {n: metadata.version(n) for n in ("lm_eval", "torch", "transformers")},
    }
    print(json.dumps(figures, indent=1))
    missed = [
        name
        for name, (way, aim) in AIMS.items()
        if (figures[name] > aim if way == "at most" else figures[name] < aim)
    ]
    for name in missed:
        print(
            f"missed: {name} {figures[name]}, aim {' '.join(map(str, AIMS[name]))}", file=sys.stderr
        )
    raise SystemExit(any("difference" in name for name in missed))


if __name__ == "__main__":
    main()
