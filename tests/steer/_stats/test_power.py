from math import isnan, nan, sqrt

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from steer._stats import Column, difference, minimum_detectable_effect
from steer._stats._bootstrap import resampled_ratios
from steer._stats._power import paired_sd


def test_the_effect_by_hand() -> None:
    # Tables give t_{.975} = 2.0639 and t_{.8} = 0.8569 at 24 degrees of freedom; sd / sqrt(n) is
    # 2 / 5.
    assert minimum_detectable_effect(2.0, 25) == pytest.approx(2.9208 * 0.4, abs=1e-4)


@pytest.mark.parametrize("items", [10, 30, 400])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.9, 0.01)])
def test_the_effect_agrees_with_statsmodels(items: int, power: float, alpha: float) -> None:
    # They solve the noncentral t, to which ours comes closer with more items.
    theirs = TTestPower().solve_power(nobs=items, alpha=alpha, power=power)
    found = minimum_detectable_effect(3.0, items, power, alpha)
    assert found == pytest.approx(3 * theirs, rel=0.3 / items)


@pytest.mark.parametrize(("sd", "items"), [(1.0, 1), (1.0, 0), (nan, 9), (np.inf, 9), (0.0, 9)])
def test_an_effect_that_cannot_be_known(sd: float, items: int) -> None:
    assert isnan(minimum_detectable_effect(sd, items))


def test_the_spread_of_plain_means_is_that_of_item_differences() -> None:
    after, before = Column.of([1.0, 5.0, 2.0, 9.0]), Column.of([1.0, 2.0, 3.0, 4.0])
    # Differences 0, 3, -1, 5 with mean 1.75 and sum of squared deviations 22.75.
    sd = sqrt(22.75 / 3)
    assert paired_sd(after, before, None) == pytest.approx(sd)
    expected = minimum_detectable_effect(sd, 4)
    assert difference(after, before, seed=0).mde == pytest.approx(expected)


@pytest.mark.parametrize("transform", [None, np.exp, np.sqrt])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_linearised_spread_is_that_of_the_bootstrap(
    transform: np.ufunc | None, share: float
) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(20, 100, size=(2, 300)).astype(float)
    weights[1] *= rng.random(300) < share
    shared = rng.normal(2.0, 0.2, size=300)
    arms = [Column(shared + rng.normal(size=300) / 5, w) for w in weights]
    ratios = resampled_ratios(arms, seed=0, resamples=4000)
    metrics = ratios if transform is None else transform(ratios)
    # 4,000 resamples leave 1.1 % of error, and linearising 300 items less than that.
    found = paired_sd(arms[0], arms[1], transform) / sqrt(300)
    assert found == pytest.approx(np.std(metrics[:, 0] - metrics[:, 1]), rel=0.06)
    # The effect counts the items of either arm, as the spread does.
    factor = minimum_detectable_effect(1.0, 300) * sqrt(300)
    effect = difference(arms[0], arms[1], seed=0, transform=transform, resamples=20).mde
    assert effect == pytest.approx(factor * found)


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [0.1, 0.7, 0.3]])
def test_items_that_change_alike_do_not_promise_to_see_anything(values: list[float]) -> None:
    after = Column.of([value + 0.3 for value in values])
    assert isnan(difference(after, Column.of(values), seed=0).mde)
