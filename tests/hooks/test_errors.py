import pytest

from steer import hooks
from steer.hooks import SteerError

KINDS = {
    "DataError": ValueError,
    "DownloadError": RuntimeError,
    "ModelError": ValueError,
    "PlanError": ValueError,
    "RunError": RuntimeError,
    "SiteError": ValueError,
    "TaskError": ValueError,
}


@pytest.mark.parametrize("name", KINDS)
def test_an_error_is_ours_and_of_a_built_in_kind(name: str) -> None:
    error = getattr(hooks, name)
    assert issubclass(error, SteerError)
    assert issubclass(error, KINDS[name])


def test_no_error_is_left_out() -> None:
    assert {error.__name__ for error in SteerError.__subclasses__()} == set(KINDS)
