"""What steering costs: generation with an edit against generation without, in one run.

    python benchmarks/steering_overhead.py --repeats 7
    python benchmarks/steering_overhead.py --only plain,steer,repeng --batches 1

Every variant adds the same vectors after the same layers to every token and makes the same number
of greedy tokens from the same left-padded prompts. Each repeat runs every variant once, in rotating
order; the figures are ratios of medians to the plain model. What a user does once for a model is
not timed; what is done for each `generate` (attaching, hooks, tracing) is.

The peers are repeng, steering-vectors, pyvene and nnsight; one that is not installed is reported as
such. For an environment without steer, `--model-folder FOLDER --only plain,pyvene` loads the model
by transformers alone and imports no steer.

The tokens of each variant (`--check-tokens` of them) are compared with those of a hand-written
forward hook.
"""

import argparse
import copy
import json
import sys
import time
import traceback
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median

import torch
from _peers import LIBRARIES, Inputs, Run, Vectors
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

QUESTIONS = Path(__file__).parents[1] / "steer" / "data" / "misconceptions.jsonl"
PLAIN, BY_HAND, ROWS = "plain", "by hand", "steer rows"
ONE, ALL, EACH = "one layer", "all layers", "one layer, a plan a row"


@dataclass
class Variant:
    """One library with one edit, and what was found for each batch size."""

    library: str
    edit: str
    cells: dict[int, str] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    ratios: dict[int, float] = field(default_factory=dict)
    same_tokens: dict[int, bool] = field(default_factory=dict)

    @property
    def agreement(self) -> str:
        """With the tokens of the hook written by hand, at every batch size."""
        if self.library in (PLAIN, BY_HAND) or not self.same_tokens:
            return "-"
        return "yes" if all(self.same_tokens.values()) else "no"


def load(folder: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """smollm2 in float32, by steer or, from a folder, without it."""
    if folder is None:
        import steer

        model = steer.load("smollm2", device="cpu", dtype="float32")
        return model.hf, model.tokenizer
    hf = AutoModelForCausalLM.from_pretrained(folder).float().eval()
    return hf, PreTrainedTokenizerFast.from_pretrained(folder)


def prompts(tokenizer: PreTrainedTokenizerBase, batch: int) -> Inputs:
    """The first questions, left padded."""
    rows = [json.loads(line)["question"] for line in QUESTIONS.read_text("utf-8").splitlines()]
    texts = [f"Q: {question}\nA:" for question in rows[:batch]]
    given = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    return {name: given[name] for name in ("input_ids", "attention_mask")}


def edits(hf: PreTrainedModel, layer: int, batch: int, norm: float) -> dict[str, Vectors]:
    """Random vectors by the name of the edit, each edit of the same norm in total."""
    layers, size = hf.config.num_hidden_layers, hf.config.hidden_size
    draw = torch.Generator().manual_seed(0)
    by_layer = norm * normalize(torch.randn(layers, size, generator=draw), dim=-1)
    by_row = norm * normalize(torch.randn(batch, 1, size, generator=draw), dim=-1)
    spread = dict(enumerate(by_layer / layers**0.5))
    return {PLAIN: {}, ONE: {layer: by_layer[layer]}, ALL: spread, EACH: {layer: by_row}}


def variants(only: list[str]) -> list[Variant]:
    """Those of some libraries (of all if none is named), the plain model always among them."""
    if unknown := set(only) - set(LIBRARIES):
        raise SystemExit(f"--only: unknown {sorted(unknown)}; expected some of {list(LIBRARIES)}")
    return [
        Variant(library, edit)
        for library in LIBRARIES
        if library == PLAIN or not only or library in only
        for edit in {PLAIN: (PLAIN,), ROWS: (EACH,)}.get(library, (ONE, ALL))
    ]


def own_modules(hf: PreTrainedModel) -> PreTrainedModel:
    """A copy that shares the weights, since some libraries change a model for good."""
    return copy.deepcopy(hf, {id(parameter): parameter for parameter in hf.parameters()})


def measure(
    some: list[Variant],
    hf: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: int,
    given: argparse.Namespace,
) -> None:
    """Fill in one column of the table."""
    inputs = prompts(tokenizer, batch)
    vectors = edits(hf, given.layer, batch, given.norm)
    few, all_new = _new(given.check_tokens, tokenizer), _new(given.new_tokens, tokenizer)
    expected = {
        edit: LIBRARIES[BY_HAND](own_modules(hf), tokenizer, vectors[edit])(inputs, **few)
        for edit in {variant.edit for variant in some}
    }
    runs: list[tuple[Variant, Run]] = []
    for variant in some:
        if variant.edit == EACH and batch == 1:
            variant.cells[batch] = "-"
            continue
        try:
            run = LIBRARIES[variant.library](own_modules(hf), tokenizer, vectors[variant.edit])
            tokens = run(inputs, **few)  # sets up kernels, too
        except ModuleNotFoundError as error:
            variant.cells[batch] = f"not installed ({error.name})"
        except Exception as error:
            traceback.print_exc()
            variant.cells[batch] = f"failed ({type(error).__name__})"
        else:
            variant.same_tokens[batch] = torch.equal(tokens, expected[variant.edit])
            runs.append((variant, run))
            if variant.edit != PLAIN and torch.equal(expected[variant.edit], expected[PLAIN]):
                raise SystemExit(f"{variant.edit}: no token changes; take a larger --norm")
    seconds = interleaved([run for _, run in runs], inputs, all_new, given.repeats)
    for (variant, _), taken in zip(runs, seconds, strict=True):
        variant.seconds[batch] = taken
        variant.ratios[batch] = taken / seconds[0]  # the plain model comes first
        variant.cells[batch] = f"{variant.ratios[batch]:.2f}"


def _new(tokens: int, tokenizer: PreTrainedTokenizerBase) -> dict[str, int | bool | None]:
    return {
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "do_sample": False,
        "pad_token_id": tokenizer.pad_token_id,
    }


def interleaved(
    runs: list[Run], inputs: Inputs, options: dict[str, int | bool | None], repeats: int
) -> list[float]:
    """Median seconds of each; every repeat runs each once and begins with another one."""
    taken: list[list[float]] = [[] for _ in runs]
    width = inputs["input_ids"].shape[1] + int(options["max_new_tokens"] or 0)
    for repeat in range(repeats):
        for step in range(len(runs)):
            which = (repeat + step) % len(runs)
            started = time.perf_counter()
            out: Tensor = runs[which](inputs, **options)
            taken[which].append(time.perf_counter() - started)
            assert out.shape[1] == width, "a variant made another number of tokens"
    return [median(times) for times in taken]


def versions() -> dict[str, str]:
    """Of what is compared and what it runs on."""
    found = {}
    for package in ("torch", "transformers", *LIBRARIES):
        try:
            found[package] = metadata.version(package)
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return found


def table(some: list[Variant], batches: list[int]) -> str:
    head = ["library", "edit", *(f"batch {batch}" for batch in batches), "same tokens"]
    lines = [head, ["---"] * len(head)]
    lines += [[v.library, v.edit, *(v.cells[b] for b in batches), v.agreement] for v in some]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batches", default="1,16", help="batch sizes, with commas")
    parser.add_argument("--only", default="", help=f"some of: {','.join(LIBRARIES)}")
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--norm", type=float, default=48.0, help="of the added vectors")
    parser.add_argument("--check-tokens", type=int, default=8)
    parser.add_argument("--model-folder", help="load from here, without steer")
    given = parser.parse_args()
    some = variants([name.strip() for name in given.only.split(",") if name.strip()])
    batches = [int(batch) for batch in given.batches.split(",")]
    hf, tokenizer = load(given.model_folder)
    for batch in batches:
        measure(some, hf, tokenizer, batch, given)
    print(table(some, batches))
    figures = {
        "repeats": given.repeats,
        "new_tokens": given.new_tokens,
        "layer": given.layer,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "variants": [vars(variant) for variant in some],
    }
    print(json.dumps(figures))
    if wrong := [v.library for v in some if v.agreement == "no"]:
        print(f"other tokens than by hand: {', '.join(wrong)}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
