"""One metric under one arm: a number and a weight for each item."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from steer.hooks import DataError

Transform = Callable[[ndarray], ndarray]
"""An increasing function of a metric's ratio, such as `np.exp` for perplexity."""


class Column(NamedTuple):
    """The values and weights of the items, in the order that all arms share.

    The metric is a ratio of sums, sum(w v) / sum(w), or a transform of that:

    - mean: w = 1;
    - proportion: w = 1, v is 0 or 1;
    - perplexity: v = mean negative log-likelihood, w = tokens, transform = `np.exp`;
    - F1 = 2 TP / (2 TP + FP + FN): v = 1 and w = 2 for TP, v = 0 and w = 1 for FP and FN, w = 0
      for TN; precision and recall likewise.
    """

    values: Float[ndarray, " items"]
    """Any number where the weight is 0."""

    weights: Float[ndarray, " items"]
    """0 where the item does not take part."""

    @classmethod
    def of(
        cls,
        values: Sequence[float | int | None],
        weights: Sequence[float | int] | None = None,
    ) -> "Column":
        """A column; None and NaN do not take part, and weights are 1 if none are given.

        Raises:
            DataError: The weights are not one number of at least 0 for each value.
        """
        given = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        wanted = np.ones(len(given)) if weights is None else np.array(weights, dtype=np.float64)
        if len(wanted) != len(given):
            raise DataError(
                f"Column: got {len(given)} values and {len(wanted)} weights; give as many of each"
            )
        wrong = wanted[~(np.isfinite(wanted) & (wanted >= 0))]
        if len(wrong):
            raise DataError(
                f"Column: got the weight {wrong[0]}; weights are finite and at least 0, "
                "and 0 leaves an item out"
            )
        known = ~np.isnan(given)
        return cls(np.where(known, given, 0.0), np.where(known, wanted, 0.0))

    @property
    def takes_part(self) -> Bool[ndarray, " items"]:
        """Which items weigh something."""
        return self.weights > 0

    @property
    def products(self) -> Float[ndarray, " items"]:
        """Weight times value, and 0 where the item does not take part."""
        found = np.zeros(len(self.weights))
        np.multiply(self.values, self.weights, out=found, where=self.takes_part)
        return found

    def value(self, transform: Transform | None = None) -> float:
        """The metric; NaN if no item takes part."""
        if not self.takes_part.any():
            return float("nan")
        ratio = np.array([self.products.sum() / self.weights.sum()])
        return float(transformed(ratio, transform)[0])

    def only(self, kept: Bool[ndarray, " items"]) -> "Column":
        """The column of some of the items."""
        return Column(self.values[kept], self.weights[kept])


def transformed(ratios: ndarray, transform: Transform | None) -> ndarray:
    """The ratios on the metric's own scale; what overflows is infinite."""
    with np.errstate(over="ignore"):
        return ratios if transform is None else transform(ratios)


def mean_of(columns: Sequence[Column]) -> Column:
    """The item-wise mean of several arms, such as the random vectors.

    An item's weight is its mean weight over the arms, its value the mean of its values by weight,
    sum_k(w_k v_k) / sum_k(w_k). Its ratio of sums is therefore that of all arms pooled, and one
    item stays one item, so that the bootstrap does not take several arms for several items. A
    transform applies to the pooled ratio: perplexity is that of all arms' tokens together.

    Raises:
        DataError: There are no columns, or they do not have the same items.
    """
    counts = sorted({len(column.weights) for column in columns})
    if len(counts) != 1:
        raise DataError(
            f"mean_of: got {len(columns)} columns with items numbering {counts}; "
            "give at least one, all with the same items"
        )
    total = np.sum([column.weights for column in columns], axis=0)
    products = np.sum([column.products for column in columns], axis=0)
    values = np.divide(products, total, out=np.zeros(len(total)), where=total > 0)
    return Column(values, total / len(columns))
