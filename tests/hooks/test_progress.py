import pytest

from steer.hooks import track


@pytest.mark.parametrize("show", [False, True])
def test_items_pass_through(show: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "reading", total=3, show=show)) == ["a", "b", "c"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("reading" in printed.err and "3/3" in printed.err) == show
