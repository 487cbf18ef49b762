import re
from math import comb, isnan, nan
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as theirs

from steer import _stats
from steer._stats import Column, holm, mcnemar
from steer.hooks import DataError


def outcomes(both: int, won: int, lost: int, neither: int) -> tuple[Column, Column]:
    """Paired outcomes, after and before."""
    counts = [both, won, lost, neither]
    after, before = np.repeat([1.0, 1, 0, 0], counts), np.repeat([1.0, 0, 1, 0], counts)
    return Column.of(after.tolist()), Column.of(before.tolist())


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
    found = mcnemar(*outcomes(7, won, lost, 4))
    assert found == pytest.approx(p)
    assert found == pytest.approx(theirs([[7, won], [lost, 4]], exact=True).pvalue)


def test_concordant_pairs_have_no_say_in_mcnemar() -> None:
    assert mcnemar(*outcomes(0, 8, 2, 0)) == mcnemar(*outcomes(900, 8, 2, 90))


def test_only_pairs_count_in_mcnemar() -> None:
    # Six wins; the other items lack one arm or both.
    after = Column.of([1.0] * 6 + [1.0, None, 0.0, None])
    before = Column.of([0.0] * 6 + [None, 0.0, None, None])
    assert mcnemar(after, before) == pytest.approx(2 / 2**6)


def test_mcnemar_of_no_pair_is_unknown() -> None:
    assert isnan(mcnemar(Column.of([1.0, None]), Column.of([None, 0.0])))


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    # In order 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_one() -> None:
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_unknown_p_values_are_no_tests() -> None:
    found = holm([nan, 0.01, 0.04, nan])
    assert found[1:3] == pytest.approx([0.02, 0.04])
    assert isnan(found[0])
    assert isnan(found[3])


def test_holm_of_nothing_known() -> None:
    assert holm([]) == []
    assert isnan(holm([nan])[0])


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_holm_refuses_what_is_no_p_value(wrong: float) -> None:
    with pytest.raises(DataError, match=f"p-values from 0 to 1, or NaN, got {wrong}"):
        holm([0.5, wrong])


def test_statsmodels_is_imported_when_needed() -> None:
    files = list(Path(_stats.__file__).parent.glob("*.py"))
    code = [path.read_text(encoding="utf-8") for path in files]
    assert any("statsmodels" in text for text in code)
    assert not any(re.search("^(from|import) statsmodels", text, re.MULTILINE) for text in code)
