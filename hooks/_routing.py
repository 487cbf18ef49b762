"""Reads and replaces the routing weights in what a router returns.

The routers of transformers 5 return logits, the weights of the chosen experts, their indices, and
sometimes more; the experts' outputs are multiplied with just these weights. Llama 4 returns dense
weights, 0 where an expert is not chosen, and logits; its weights scale what the experts are given.
Here the weights are always dense: one for each expert.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Dense = Float[Tensor, "tokens experts"]


class Routing(NamedTuple):
    """The routing weights in a router's output.

    Attributes:
        output: what the router returned.
        place: which element of it holds the weights.
        chosen: the chosen experts of each token; None where the weights are dense.
        experts: how many experts there are.
    """

    output: tuple[Any, ...]
    place: int
    chosen: Int[Tensor, "tokens k"] | None
    experts: int

    @classmethod
    def of(cls, output: Any) -> "Routing | None":
        """Find them; None if the output has no weights."""
        if not isinstance(output, tuple) or len(output) < 2:
            return None
        logits, weights, *more = output
        if not all(isinstance(o, Tensor) and o.is_floating_point() for o in (logits, weights)):
            return None
        experts = logits.shape[-1]
        if not more:
            return cls(output, 0, None, experts) if logits.shape == weights.shape else None
        chosen = more[0]
        if not isinstance(chosen, Tensor) or chosen.is_floating_point():
            return None
        return cls(output, 1, chosen, experts) if chosen.shape == weights.shape else None

    @property
    def weights(self) -> Dense:
        """The dense weights."""
        held: Tensor = self.output[self.place]
        if self.chosen is None:
            return held
        dense = torch.zeros(*held.shape[:-1], self.experts, dtype=held.dtype, device=held.device)
        return dense.scatter_add(-1, self.chosen, held)

    def replaced(self, weights: Dense) -> tuple[Any, ...]:
        """The output with other weights for the experts that are chosen."""
        new = weights if self.chosen is None else weights.gather(-1, self.chosen)
        return (*self.output[: self.place], new, *self.output[self.place + 1 :])
