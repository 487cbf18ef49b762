"""Chooses layer and strength on questions that are not reported."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from steer._files import write_text
from steer._methods import extract, method_of
from steer.hooks import DataError, Model, Plan, RunError, attach, resid_post, track

from ._mc import METRICS, measure
from ._questions import Question, pairs_of
from ._setting import Setting


@dataclass(frozen=True)
class Tuning:
    """What is tried.

    Raises:
        DataError: if there is nothing to try, or the metric is unknown.
    """

    layers: tuple[int, ...] | None = None
    """Layers to try; None tries five from 40 % to 67 % of the depth."""

    strengths: tuple[float, ...] = (0.15, 0.3, 0.45, 0.6)
    """Strengths to try, as fractions of the layer's residual norm."""

    sources: int = 150
    """At most so many questions of the tuning half give pairs (never over half); the rest judge."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of each method by its name, such as `{"grains": {"steps": 10}}`."""

    metric: str = "mc2"
    """What the choice maximises."""

    def __post_init__(self) -> None:
        if self.layers == () or not self.strengths or self.sources < 1:
            raise DataError(f"Tuning: needs layers, strengths and sources, got {self}")
        for method in self.options:
            method_of(method)
        if self.metric not in METRICS:
            raise DataError(
                f"Tuning: unknown metric {self.metric!r}; expected {' or '.join(METRICS)}"
            )

    def layers_in(self, model: Model) -> tuple[int, ...]:
        """The layers to try in this model."""
        if self.layers is not None:
            for layer in self.layers:
                model.anatomy.check(resid_post(layer))
            return self.layers
        depths = np.linspace(0.4, 0.67, 5) * model.n_layers
        return tuple(sorted({int(depth) for depth in depths}))


def halves(questions: Sequence[Question], seed: int) -> tuple[list[Question], list[Question]]:
    """A tuning half and a reporting half, disjoint, each in the order of the file.

    Raises:
        DataError: if there are fewer than four questions.
    """
    if len(questions) < 4:
        raise DataError(f"tuning needs at least 4 questions, got {len(questions)}; raise the limit")
    order = list(range(len(questions)))
    random.Random(seed).shuffle(order)
    tuning = set(order[: len(questions) // 2])
    return (
        [q for n, q in enumerate(questions) if n in tuning],
        [q for n, q in enumerate(questions) if n not in tuning],
    )


def tuned_plan(
    method: str, setting: Setting, questions: Sequence[Question], tuning: Tuning
) -> tuple[Plan, dict[str, Any]]:
    """Extract on one part of the questions, choose layer and strength on the rest.

    Returns:
        The plan, and how it was chosen: `items`, `pairs`, `layer`, `strength` and the `grid`.
    """
    order = list(questions)
    random.Random(setting.seed + 1).shuffle(order)
    count = min(tuning.sources, len(order) // 2)
    pairs = pairs_of(order[:count], setting.template, setting.seed)
    layers = tuning.layers_in(setting.model)
    options = {"batch_tokens": setting.batch_tokens} | dict(tuning.options.get(method, {}))
    plan = extract(method, setting.model, pairs, layers, progress=setting.progress, **options)
    grid = _grid(f"tuning {method}", setting, order[count:], plan, tuning.strengths)
    best = max(grid, key=lambda tried: tried[tuning.metric])
    layer, strength = int(best["layer"]), best["strength"]
    about = {"items": len(order) - count, "pairs": len(pairs), "layer": layer, "strength": strength}
    best_plan = plan.only(layer).at(strength)
    return best_plan, about | {"plan": best_plan.hash, "grid": grid}


def tuned_plans(
    methods: Sequence[str],
    setting: Setting,
    questions: Sequence[Question],
    tuning: Tuning,
    folder: Path | None,
) -> tuple[dict[str, Plan], dict[str, Any]]:
    """The chosen plan of each method and how it was chosen; kept in the folder, so done once."""
    plans, chosen = {}, {}
    for method in methods:
        plan_file = None if folder is None else folder / f"{method}.safetensors"
        note = None if folder is None else folder / f"{method}.json"
        if plan_file and note and note.exists():
            plans[method] = Plan.load(plan_file)
            chosen[method] = json.loads(note.read_text(encoding="utf-8"))
            if plans[method].hash != chosen[method].get("plan"):
                raise RunError(f"{plan_file} is not what this run made; choose another --out")
            continue
        plans[method], chosen[method] = tuned_plan(method, setting, questions, tuning)
        if plan_file and note:
            plans[method].save(plan_file)
            write_text(note, json.dumps(chosen[method], indent=1) + "\n")
    return plans, chosen


def _grid(
    what: str,
    setting: Setting,
    judges: Sequence[Question],
    plan: Plan,
    strengths: Sequence[float],
) -> list[dict[str, Any]]:
    """The mean metrics at every layer and strength."""
    grid = []
    tries = [(layer, strength) for layer in plan.layers for strength in strengths]
    for layer, strength in track(tries, what, total=len(tries), show=setting.progress):
        with attach(setting.model, plan.only(layer).at(strength)):
            results = measure(setting, judges)
        means = {m: float(np.mean([r[m] for r in results])) for m in METRICS}
        grid.append({"layer": layer, "strength": strength} | means)
    return grid
