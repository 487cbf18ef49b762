from math import inf, isnan

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from steer._stats import Column, paired_t


def test_means_have_the_p_of_the_paired_t_test() -> None:
    after, before = [1.0, 5.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0]
    # Differences 0, 3, -1, 5: mean 1.75, spread sqrt(22.75 / 3) and so t = 1.2710 at 3 degrees.
    found = paired_t(Column.of(after), Column.of(before))
    assert found == pytest.approx(2 * t(3).sf(1.2710), rel=1e-4)
    assert found == pytest.approx(ttest_rel(after, before).pvalue)
    assert paired_t(Column.of(before), Column.of(after)) == pytest.approx(found)


def test_no_number_of_resamples_bounds_it() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 50))
    assert paired_t(Column.of((noise[0] + 9).tolist()), Column.of(noise[1].tolist())) < 1e-20


def test_items_in_neither_arm_have_no_say() -> None:
    after, before = [1.0, None, 5.0, None, 2.0], [1.5, None, 2.0, None, 3.0]
    expected = ttest_rel([1.0, 5.0, 2.0], [1.5, 2.0, 3.0]).pvalue
    assert paired_t(Column.of(after), Column.of(before)) == pytest.approx(expected)


def test_the_arm_with_fewer_items_decides_the_degrees_of_freedom() -> None:
    # The arms' influences are -1, 1, -2, 2 and 4/3 (-1, 1, 0) with 0 for the last, whose
    # difference is 1/3, -1/3, -2, 2: spread sqrt(8.2222 / 3) = 1.6555, standard error 0.8278.
    found = paired_t(Column.of([2.0, 4.0, 1.0, 5.0]), Column.of([0.0, 2.0, 1.0, None]))
    assert found == pytest.approx(2 * t(2).sf(2 / 0.82776), rel=1e-3)


def test_a_transform_is_linearised() -> None:
    # All lie close to 2, where e^v is straight, so that p is that of the plain means.
    rng = np.random.default_rng(1)
    after, before = (Column.of((2 + rng.normal(0, 1e-4, size=20)).tolist()) for _ in range(2))
    assert paired_t(after, before, np.exp) == pytest.approx(paired_t(after, before), rel=1e-3)


def test_weights_count() -> None:
    # An item of weight 0 in both arms is none; one of weight 2 moves the mean twice as far.
    after, before = Column.of([1.0, 0.0, 9.0], [2, 1, 0]), Column.of([0.0, 0.5, 9.0], [2, 1, 0])
    # Means 2/3 and 1/6; influences (2/3) (1/3) 2, -(2/3)^2 and -(1/6) (2/3) 2, (1/3) (2/3):
    # differences 2/3 and -2/3, spread (2/3) sqrt(2), standard error 2/3, t = 3/4 at 1 degree.
    assert paired_t(after, before) == pytest.approx(2 * t(1).sf(0.75))


@pytest.mark.parametrize(("gain", "p"), [(0.0, 1.0), (0.5, 2**-5), (-0.1, 2**-5)])
def test_items_that_all_change_alike_have_the_p_of_the_sign_test(gain: float, p: float) -> None:
    before = [0.1, 0.7, 0.3, 0.2, 0.9, 0.4]
    after = [value + gain for value in before]
    assert paired_t(Column.of(after), Column.of(before)) == p


def test_rounding_is_no_change() -> None:
    assert paired_t(Column.of([0.1 + 0.2, 0.7]), Column.of([0.3, 0.7])) == 1.0


@pytest.mark.parametrize(
    ("after", "before"),
    [([], []), ([1.0], [0.0]), ([1.0, 2.0], [None, 0.0]), ([inf, 1.0, 2.0], [1.0, 2.0, 0.0])],
)
def test_what_cannot_be_known(after: list[float | None], before: list[float | None]) -> None:
    assert isnan(paired_t(Column.of(after), Column.of(before)))
