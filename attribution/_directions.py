"""From a cloud of differences to one direction a layer."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Aggregate = Callable[[Float[Tensor, "pairs d_model"]], Float[Tensor, " d_model"]]
"""Turns the differences of all pairs at one layer into a direction."""


def mean(differences: Float[Tensor, "pairs d_model"]) -> Float[Tensor, " d_model"]:
    """The mean difference (CAA, https://arxiv.org/abs/2312.06681)."""
    return differences.mean(0)


def principal(differences: Float[Tensor, "pairs d_model"]) -> Float[Tensor, " d_model"]:
    """The first principal component of the differences, unit norm, pointing with their mean.

    The differences are centred, as principal components are; with a single pair, or the same one
    again and again, where nothing is left after centring, it is the difference itself.
    """
    centre = differences.mean(0)
    centred = differences - centre
    if centred.norm() <= 1e-6 * differences.norm():
        alone: Tensor = centre / centre.norm()
        return alone
    axis: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    return -axis if bool(axis @ centre < 0) else axis
