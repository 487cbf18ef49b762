"""What tuning tries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steer._methods import method_of
from steer._tasks import Metric, Task
from steer.hooks import DataError, Model, resid_post


@dataclass(frozen=True)
class Tuning:
    """What is tried.

    Raises:
        DataError: if there is nothing to try.
    """

    layers: tuple[int, ...] | None = None
    """Layers to try; None tries five from 40 % to 67 % of the depth."""

    strengths: tuple[float, ...] = (0.15, 0.3, 0.45, 0.6)
    """Strengths to try, as fractions of the layer's residual norm."""

    sources: int = 150
    """At most so many items of the tuning part give pairs (never over half); the rest judge."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of each method by its name, such as `{"grains": {"steps": 10}}`."""

    metric: str | None = None
    """What the choice goes by; None is the task's first metric."""

    def __post_init__(self) -> None:
        if self.layers == () or not self.strengths or self.sources < 1:
            raise DataError(f"Tuning: needs layers, strengths and sources, got {self}")
        for method in self.options:
            method_of(method)

    def layers_in(self, model: Model) -> tuple[int, ...]:
        """The layers to try in this model."""
        if self.layers is not None:
            for layer in self.layers:
                model.check(resid_post(layer))
            return self.layers
        depths = np.linspace(0.4, 0.67, 5) * model.n_layers
        return tuple(sorted({int(depth) for depth in depths}))

    def metric_of(self, task: Task) -> Metric:
        """The metric that the choice goes by.

        Raises:
            DataError: if the task has no such metric, or neither more nor less of it is better.
        """
        by_name = {m.name: m for m in task.metrics if m.better}
        name = self.metric or task.main.name
        if name not in by_name:
            raise DataError(
                f"Tuning: {task.name} has no metric {name!r} to choose by; expected one of "
                f"{', '.join(by_name)}"
            )
        return by_name[name]
