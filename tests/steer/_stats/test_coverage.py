"""What the intervals and p-values promise, in 2,000 simulated experiments each.

A share of 95 % of 2,000 draws has a standard error of sqrt(.95 * .05 / 2000) = 0.49 points, so that
93 to 97 % is 4.1 standard errors to either side: an interval that covers 95 % is outside for one
seed in 25,000. The bootstrap is right only in large samples: with 94.6 % for the skewed mean (8,000
other draws) one seed in 1,500 is outside. Seeds are fixed.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from scipy.stats import binom

from steer._stats import (
    Column,
    Difference,
    difference,
    estimate,
    mcnemar,
    minimum_detectable_effect,
    paired_t,
    wilson,
)

DRAWS = 2000
RESAMPLES = 999


def plain(values: np.ndarray) -> Column:
    return Column(values, np.ones(len(values)))


def held(intervals: Iterable[tuple[float, ...]], truth: float) -> float:
    """The share of intervals (value, low, high, ...) that hold the truth."""
    return float(np.mean([low <= truth <= high for _, low, high, *_ in intervals]))


def differences(
    after: np.ndarray, before: np.ndarray, proportion: bool = False
) -> Iterator[Difference]:
    for seed, (a, b) in enumerate(zip(after, before, strict=True)):
        yield difference(plain(a), plain(b), seed, proportion=proportion, resamples=RESAMPLES)


def paired_outcomes(
    rng: np.random.Generator, items: int, wins: float, losses: float
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes after and before: half of them 1 before; 0 turns to 1 and 1 to 0 at these rates."""
    before = rng.random((DRAWS, items)) < 0.5
    moved = rng.random((DRAWS, items)) < np.where(before, losses, wins)
    return (before ^ moved).astype(float), before.astype(float)


def test_wilson_covers_a_proportion() -> None:
    # Exactly, by summing over all outcomes, it is 0.9600 at n = 150 and p = 0.3.
    intervals = [wilson(k, 150) for k in range(151)]
    inside = [low <= 0.3 <= high for _, low, high in intervals]
    exact = float(binom.pmf(range(151), 150, 0.3) @ inside)
    assert exact == pytest.approx(0.9600, abs=1e-4)
    outcomes = (np.random.default_rng(0).random((DRAWS, 150)) < 0.3).astype(float)
    found = held((estimate(plain(v), seed=0, proportion=True) for v in outcomes), 0.3)
    assert 0.93 <= found <= 0.97
    assert found == pytest.approx(exact, abs=4 * 0.0044)


def test_the_bootstrap_covers_a_skewed_mean() -> None:
    draws = np.random.default_rng(1).gamma(2.0, size=(DRAWS, 150))
    found = (estimate(plain(v), s, resamples=RESAMPLES) for s, v in enumerate(draws))
    assert 0.93 <= held(found, 2.0) <= 0.97


def test_the_bootstrap_covers_a_mean_of_few_items() -> None:
    # The plain percentile interval covers about 90 % here.
    draws = np.random.default_rng(2).normal(3.0, 2.0, size=(DRAWS, 10))
    found = (estimate(plain(v), s, resamples=RESAMPLES) for s, v in enumerate(draws))
    assert 0.93 <= held(found, 3.0) <= 0.97


def test_the_bootstrap_covers_a_paired_difference_of_means() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(0.0, 3.0, size=(DRAWS, 60))
    after = before + rng.normal(0.3, 0.7, size=before.shape)
    assert 0.93 <= held(differences(after, before), 0.3) <= 0.97


def test_the_bootstrap_covers_a_paired_difference_of_proportions() -> None:
    after, before = paired_outcomes(np.random.default_rng(4), 150, wins=0.3, losses=0.1)
    # 0.5 * 0.3 - 0.5 * 0.1.
    assert 0.93 <= held(differences(after, before, proportion=True), 0.1) <= 0.97


def test_the_bootstrap_covers_a_perplexity() -> None:
    # Short texts are harder: the mean by token is 2 + 30 / E[tokens] = 2.5, that by text is 2.6.
    rng = np.random.default_rng(5)
    tokens = rng.integers(20, 101, size=(DRAWS, 100)).astype(float)
    nll = 2 + 30 / tokens + rng.normal(size=tokens.shape) * np.sqrt(20 / tokens)
    columns = [Column(v, w) for v, w in zip(nll, tokens, strict=True)]
    found = [
        estimate(column, seed, transform=np.exp, resamples=RESAMPLES)
        for seed, column in enumerate(columns)
    ]
    assert 0.93 <= held(found, float(np.exp(2.5))) <= 0.97
    assert held(found, float(np.exp(2.6))) < 0.9


@pytest.mark.parametrize("items", [10, 20, 100])
def test_a_true_null_is_seldom_rejected_by_the_bootstrap(items: int) -> None:
    # Up to 5 % and four standard errors. Unexpanded, 10 items give 10 %.
    draws = np.random.default_rng(6).normal(size=(DRAWS, items))
    rejected = np.mean([found.p <= 0.05 for found in differences(draws, 0 * draws)])
    assert 0.03 <= rejected <= 0.05 + 4 * 0.0049


@pytest.mark.parametrize("items", [5, 20, 100])
def test_a_true_null_is_seldom_rejected_by_student(items: int) -> None:
    draws = np.random.default_rng(6).normal(size=(DRAWS, 2, items))
    rejected = np.mean([paired_t(plain(a), plain(b)) <= 0.05 for a, b in draws])
    assert rejected == pytest.approx(0.05, abs=4 * 0.0049)


def test_equal_perplexities_are_seldom_told_apart_by_student() -> None:
    # Texts of 20 to 100 tokens, which are harder or easier for both arms.
    rng = np.random.default_rng(9)
    tokens = rng.integers(20, 101, size=(DRAWS, 100)).astype(float)
    shared = rng.normal(2.5, 0.5, size=tokens.shape)
    arms = shared + rng.normal(0, 0.2, size=(2, *tokens.shape))
    rejected = np.mean(
        [
            paired_t(Column(after, n), Column(before, n), np.exp) <= 0.05
            for after, before, n in zip(*arms, tokens, strict=True)
        ]
    )
    assert rejected == pytest.approx(0.05, abs=4 * 0.0049)


def test_a_true_null_is_seldom_rejected_by_mcnemar() -> None:
    # Exact tests of whole numbers stay below their level: about 3.4 % here.
    after, before = paired_outcomes(np.random.default_rng(7), 150, wins=0.2, losses=0.2)
    pairs = zip(after, before, strict=True)
    rejected = np.mean([mcnemar(plain(a), plain(b)) <= 0.05 for a, b in pairs])
    assert 0.01 <= rejected <= 0.05 + 4 * 0.0049


def test_the_detectable_effect_is_found_four_times_in_five() -> None:
    # sqrt(.8 * .2 / 2000) = 0.9 points.
    effect = minimum_detectable_effect(2.0, 100)
    gains = np.random.default_rng(8).normal(effect, 2.0, size=(DRAWS, 100))
    found = list(differences(gains, 0 * gains))
    power = np.mean([one.p <= 0.05 for one in found])
    assert power == pytest.approx(0.8, abs=4 * 0.009)
    # What each experiment says of itself is right on average, to 4 * 0.07 / sqrt(2000) of it.
    assert np.mean([one.mde for one in found]) == pytest.approx(effect, rel=0.0065)
