"""Reading one middle layer of many prompts: `steer.record` against a plain pass for hidden states.

    python benchmarks/recording.py --prompts 256 --repeats 5

The plain pass asks the model for `output_hidden_states=True` in the same batches and keeps the last
token of the same layer; it leaves the model's own defaults on, so it runs every layer, the LM head
and the KV cache. Each measurement has a process of its own, in rotating order: seconds, and
how far the peak of resident memory rose over that of the loaded model, all of whose weights a short
pass has touched before. The figures are ratios of medians to the plain pass.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import steer
from steer._eval._items import data_of
from steer._tasks import TASKS, TEMPLATES
from steer.hooks import Model
from steer.hooks._batching import by_tokens


def with_record(model: Model, rows: list[list[int]], layer: int, budget: int) -> Tensor:
    site = steer.resid_post(layer)
    return steer.record(model, rows, site, pool="last", batch_tokens=budget)[site]


@torch.no_grad()
def plain(model: Model, rows: list[list[int]], layer: int, budget: int) -> Tensor:
    """One row a prompt, by the model's own means."""
    found = torch.empty(len(rows), model.d_model)
    for group in by_tokens([len(row) for row in rows], budget):
        batch = model.batch([rows[i] for i in group], pad="right")
        states = model.hf(**batch, output_hidden_states=True).hidden_states[layer + 1]
        ends = batch["attention_mask"].sum(1) - 1
        found[group] = states[torch.arange(len(group)), ends]
    return found


WAYS: dict[str, Callable[[Model, list[list[int]], int, int], Tensor]] = {
    "plain": plain,
    "steer": with_record,
}


def measure(way: str, given: argparse.Namespace) -> None:
    """Run one way in this process; its figures go to stdout and its states to a file."""
    model = steer.load(given.model, device="cpu", dtype="float32")
    questions = data_of(TASKS["misconceptions"], limit=given.prompts).items
    rows = [model.token_ids(TEMPLATES["qa"].format(question=q.text)) for q in questions]
    for warm_up in (plain, WAYS[way]):  # touches all weights; sets up kernels
        warm_up(model, rows[:1], given.layer, given.batch_tokens)
    loaded = _peak_mib()
    started = time.perf_counter()
    states = WAYS[way](model, rows, given.layer, given.batch_tokens)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "mib": _peak_mib() - loaded, "prompts": len(rows)}))
    torch.save(states, given.states)


def _peak_mib() -> float:
    """The most memory that this process has held (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(way: str, states: Path) -> dict[str, float]:
    """This script again, with the same arguments, for one way."""
    command = [sys.executable, *sys.argv, "--way", way, "--states", str(states)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--states", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        measure(given.way, given)
        return

    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.pt" for way in WAYS}
        for repeat in range(given.repeats):
            for way in list(WAYS)[:: -1 if repeat % 2 else 1]:
                runs[way].append(in_a_process(way, files[way]))
        states, expected = torch.load(files["steer"]), torch.load(files["plain"])

    middle = {
        way: {name: median(run[name] for run in some) for name in ("seconds", "mib")}
        for way, some in runs.items()
    }
    ratios = {
        way: {name: round(found[name] / middle["plain"][name], 3) for name in found}
        for way, found in middle.items()
    }
    print("| way | time | peak memory over the loaded model |\n| --- | --- | --- |")
    for way, ratio in ratios.items():
        print(f"| {way} | {ratio['seconds']:.2f} | {ratio['mib']:.2f} |")
    error = float((states - expected).abs().max() / expected.abs().max())
    figures = {
        "prompts": int(runs["plain"][0]["prompts"]),
        "repeats": given.repeats,
        "layer": given.layer,
        "batch_tokens": given.batch_tokens,
        "threads": torch.get_num_threads(),
        "medians": middle,
        "ratios": ratios,
        "relative_error": error,
    }
    print(json.dumps(figures))
    if error > 1e-4:
        raise SystemExit("the two ways read different states")


if __name__ == "__main__":
    main()
