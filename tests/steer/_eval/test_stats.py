from functools import partial
from math import comb, isnan

import numpy as np
import pytest

from steer._eval import _stats, difference, estimate, mcnemar


def outcomes(both: int, won: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Paired outcomes, after and before."""
    counts = [both, won, lost, neither]
    return np.repeat([1.0, 1, 0, 0], counts), np.repeat([1.0, 0, 1, 0], counts)


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [
        (8, 2, 0.109375),  # 2 (1 + 10 + 45) / 2^10
        (2, 8, 0.109375),
        (6, 0, 0.03125),  # 2 / 2^6
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 0, 1.0),
        (20, 5, 2 * sum(comb(25, k) for k in range(6)) / 2**25),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(won: int, lost: int, p: float) -> None:
    assert mcnemar(*outcomes(7, won, lost, 4)) == pytest.approx(p)


def test_concordant_pairs_have_no_say_in_mcnemar() -> None:
    assert mcnemar(*outcomes(0, 8, 2, 0)) == mcnemar(*outcomes(900, 8, 2, 90))


def test_the_interval_is_that_of_the_percentile_bootstrap() -> None:
    # Of eight items four are 1: a resampled mean is Binomial(8, 1/2) / 8, with P(0) = 0.004 and
    # P(at most 1) = 0.035, so the 2.5 % point is 1/8 and by symmetry the 97.5 % point 7/8. With
    # 10,000 resamples a seed misses that with odds below 1e-6.
    found = estimate(np.array([0.0, 1.0] * 4), seed=0)
    assert found == (0.5, 0.125, 0.875)


def test_differences_are_resampled_in_pairs() -> None:
    """Items differ widely, but each gains one half: the mean gain is certain."""
    before = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    low, high = estimate(before, seed=0)[1:]
    assert high - low > 10
    value, low, high, p = difference(before + 0.5, before, seed=0)
    assert (value, low, high) == (0.5, 0.5, 0.5)
    # No resample falls to zero or below; p is never 0, but 2 (0 + 1) / (10,000 + 1).
    assert p == pytest.approx(2 / 10_001)


def test_the_bootstrap_p_value_counts_the_smaller_side() -> None:
    # Gains 0.5, 0.5, -0.25: a resampled mean is at most 0 if two of three draws are the last:
    # 3 (1/3)^2 (2/3) + (1/3)^3 = 7/27, so p is 14/27; 0.025 is five standard errors.
    after, before = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 0.25])
    found = difference(after, before, seed=0)
    assert found.value == pytest.approx(0.25)
    assert found.p == pytest.approx(14 / 27, abs=0.025)


@pytest.mark.parametrize("gain", [[0.0, 0.0, 0.0], [0.5, -0.5]])
def test_no_gain_has_p_one(gain: list[float]) -> None:
    before = np.full(len(gain), 0.3)
    assert difference(before + np.array(gain), before, seed=0).p == 1


def test_outcomes_of_0_and_1_are_tested_by_mcnemar() -> None:
    after, before = outcomes(3, 8, 2, 7)
    assert difference(after, before, seed=0).p == pytest.approx(0.109375)
    assert difference(after, before, seed=0).value == pytest.approx(6 / 20)


def test_a_single_item_has_no_interval() -> None:
    value, low, high = estimate(np.array([0.25]), seed=0)
    assert value == 0.25
    assert isnan(low)
    assert isnan(high)
    found = difference(np.array([0.75]), np.array([0.25]), seed=0)
    assert found.value == 0.5
    assert [isnan(x) for x in (found.low, found.high, found.p)] == [True] * 3


def test_memory_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(13.0)[:, None] ** [[1, 2]]
    whole = _stats.resampled_means(values, seed=1, resamples=101)
    monkeypatch.setattr(_stats, "_CHUNK", 50)  # three resamples at a time, two at the end
    assert np.array_equal(_stats.resampled_means(values, seed=1, resamples=101), whole)
    assert whole.shape == (101, 2)


def test_columns_are_resampled_together() -> None:
    items = np.arange(9.0)
    means = _stats.resampled_means(np.stack([items, 3 * items], 1), seed=2, resamples=50)
    np.testing.assert_allclose(means[:, 1], 3 * means[:, 0])
    assert len(np.unique(means[:, 0])) > 10


def test_the_seed_decides_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert estimate(values, seed=1) == estimate(values, seed=1)
    assert estimate(values, seed=1) != estimate(values, seed=2)


def test_95_of_100_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    # By theory about 94.5 % of these intervals hold the mean (200 items, 1,000 resamples);
    # over 2,000 draws the share has a standard error of 0.5 points, so that a right implementation
    # leaves 93 to 97 % for about one seed in five hundred.
    quick = partial(_stats.resampled_means, resamples=1000)
    monkeypatch.setattr(_stats, "resampled_means", quick)
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(2000, 200))
    intervals = [estimate(values, seed) for seed, values in enumerate(draws)]
    held = np.mean([low <= 3.0 <= high for _, low, high in intervals])
    assert 0.93 <= held <= 0.97


def test_the_error_rate_of_the_bootstrap_p_value(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a gain p falls below 0.05 in about 5.4 % of draws of 100 items; 2,000 draws leave a
    # standard error of 0.5 points, so 4 to 7 % is missed for about one seed in three hundred.
    quick = partial(_stats.resampled_means, resamples=400)
    monkeypatch.setattr(_stats, "resampled_means", quick)
    draws = np.random.default_rng(1).normal(size=(2000, 100))
    zero = np.zeros(100)
    claimed = np.mean([difference(v, zero, seed).p < 0.05 for seed, v in enumerate(draws)])
    assert 0.04 <= claimed <= 0.07
