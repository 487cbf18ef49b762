import tracemalloc

import numpy as np
import pytest
from scipy import stats

from steer._stats import Column, _bootstrap, estimate
from steer._stats._bootstrap import percentile_interval, resampled_ratios


def columns(items: int) -> list[Column]:
    rng = np.random.default_rng(items)
    weights = rng.integers(1, 9, size=items).astype(float)
    return [
        Column(rng.normal(size=items), weights),
        Column(rng.normal(size=items), np.ones(items)),
    ]


@pytest.mark.parametrize("draws", [1, 40, 77, 1300])  # 1, 3, 5 and 100 resamples at a time
def test_memory_chunks_do_not_change_a_bit(draws: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resampled_ratios(columns(13), seed=1, resamples=101)
    assert whole.shape == (101, 2)
    monkeypatch.setattr(_bootstrap, "_DRAWS", draws)
    assert np.array_equal(resampled_ratios(columns(13), seed=1, resamples=101), whole)


def test_memory_is_bounded() -> None:
    arms = columns(10_000)
    tracemalloc.start()
    resampled_ratios(arms, seed=0, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # at once, the draws alone would take 16 MB and their values as much


def test_arms_are_resampled_together() -> None:
    arm = columns(9)[0]
    found = resampled_ratios([arm, Column(3 * arm.values, arm.weights)], seed=2, resamples=50)
    np.testing.assert_allclose(found[:, 1], 3 * found[:, 0])
    assert len(np.unique(found[:, 0])) > 10


def test_the_seed_decides_the_interval() -> None:
    arm = columns(30)[0]
    assert estimate(arm, seed=1) == estimate(arm, seed=1)
    assert estimate(arm, seed=1) != estimate(arm, seed=2)


def test_a_constant_is_summed_as_any_other_column() -> None:
    thirds = np.full(7, 1 / 3)
    found = resampled_ratios([Column(thirds, np.ones(7))], seed=0, resamples=20)
    np.testing.assert_allclose(found, 1 / 3, rtol=1e-15)


def test_the_percentile_interval_is_expanded() -> None:
    # Of twelve items six are 1: a resampled mean is Binomial(12, 1/2) / 12 with P(at most 1) =
    # 0.0032, P(at most 2) = 0.0193 and P(at most 3) = 0.0730. The plain 2.5 % point is 3/12; the
    # expanded tail is Phi(-sqrt(12/11) 2.2010) = 0.0108, so that the bound is 2/12, and 10/12 by
    # symmetry. 10,000 resamples miss that with odds below 1e-8.
    found = estimate(Column.of([0.0, 1.0] * 6), seed=0)
    assert found == pytest.approx((1 / 2, 2 / 12, 10 / 12))


@pytest.mark.parametrize("items", [2, 5, 30, 1000])
def test_the_tail_is_hesterbergs(items: int) -> None:
    evenly = np.linspace(0.0, 1.0, 100_001)  # its quantiles are their own shares
    t = stats.t(items - 1).ppf(0.975)
    share = stats.norm.cdf(-np.sqrt(items / (items - 1)) * t)
    assert percentile_interval(evenly, items) == pytest.approx((share, 1 - share))
    assert share < 0.025


@pytest.mark.parametrize("transform", [None, np.exp])
def test_the_interval_agrees_with_that_of_scipy(transform: np.ufunc | None) -> None:
    arm = columns(25)[0]
    tail = stats.norm.cdf(-np.sqrt(25 / 24) * stats.t(24).ppf(0.975))

    def metric(products: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
        ratio = products.sum(axis=axis) / weights.sum(axis=axis)
        return ratio if transform is None else transform(ratio)

    theirs = stats.bootstrap(
        (arm.values * arm.weights, arm.weights),
        metric,
        paired=True,
        n_resamples=20_000,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    ours = estimate(arm, seed=3, transform=transform, resamples=20_000)
    # A bound of 20,000 resamples has a standard error of about 0.02 of their deviation.
    slack = 0.15 * theirs.standard_error
    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert ours[1:] == pytest.approx(expected, abs=slack)


def test_undefined_resamples_are_left_out_up_to_half() -> None:
    evenly = np.linspace(0.0, 1.0, 1001)
    half = np.concatenate([evenly, np.full(1001, np.nan)])
    assert percentile_interval(half, 1000) == percentile_interval(evenly, 1000)
    assert np.isnan(percentile_interval(np.append(half, np.inf), 1000)).all()
