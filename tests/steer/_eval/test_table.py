import re
from typing import Any

import pytest

from steer._eval._table import header, interval, lines, over_lines

Estimate = dict[str, float | None]


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return {"value": value, "low": low, "high": high}


def metrics(mc1: Estimate, mc2: Estimate) -> dict[str, Estimate]:
    return {"mc1": mc1, "mc2": mc2}


BASE = metrics(estimate(0.25, 0.19, 0.31), estimate(0.4, 0.35004, 0.45))
STEERED = metrics(estimate(0.5, 0.4, 0.6), estimate(0.39951, 0.3, 0.5))
DELTA = metrics(
    estimate(0.25, 0.1, 0.4) | {"p": 0.00049}, estimate(-0.0005, -0.1, 0.1) | {"p": 0.109375}
)
OTHER = {"value": BASE, "delta": DELTA, "steered_over": DELTA}


def summary(**changes: Any) -> dict[str, Any]:
    whole = {"base": BASE, "steered": STEERED, "delta": DELTA, "methods": []}
    return whole | {"others": {"flipped": OTHER, "random": OTHER}} | changes


@pytest.mark.parametrize(
    ("given", "signed", "text"),
    [
        ((0.25, 0.19, 0.31), False, "0.250 [0.190, 0.310]"),
        ((0.0304, -0.0104, 0.07), True, "+0.030 [-0.010, +0.070]"),
        ((1.0, None, None), False, "1.000"),
        ((-0.5, None, None), True, "-0.500"),
    ],
)
def test_a_value_and_its_interval(
    given: tuple[float, float | None, float | None], signed: bool, text: str
) -> None:
    assert interval(estimate(*given), signed=signed) == text


def test_the_header() -> None:
    assert header() == ["arm", "MC1", "MC1 - base", "p", "MC2", "MC2 - base", "p"]


def test_the_lines_of_a_plan() -> None:
    base, steered, *others = lines(summary())
    assert base.arm == "base"
    assert base.cells == ("0.250 [0.190, 0.310]", "", "", "0.400 [0.350, 0.450]", "", "")
    assert steered.arm == "steered"
    assert steered.cells == (
        "0.500 [0.400, 0.600]",
        "+0.250 [+0.100, +0.400]",
        "<0.001",
        "0.400 [0.300, 0.500]",
        "-0.001 [-0.100, +0.100]",
        "0.109",
    )
    assert [line.arm for line in others] == ["flipped", "random (mean of 5)"]
    assert others[0].cells[:3] == ("0.250 [0.190, 0.310]", "+0.250 [+0.100, +0.400]", "<0.001")


def test_the_first_method_is_the_steered_one() -> None:
    found = lines(summary(methods=["grains", "caa"], others={"caa": OTHER}))
    assert [line.arm for line in found] == ["base", "grains (steered)", "caa"]


def test_a_model_alone_is_one_line() -> None:
    assert [line.arm for line in lines({"base": BASE})] == ["base"]


def test_what_cannot_be_known_is_left_out() -> None:
    alone = metrics(estimate(1.0, None, None), estimate(0.5, None, None))
    delta = metrics(
        estimate(0.0, None, None) | {"p": 1.0}, estimate(0.25, None, None) | {"p": None}
    )
    _, steered = lines(summary(steered=alone, delta=delta, others={}))
    assert steered.cells == ("1.000", "+0.000", "1.000", "0.500", "+0.250", "")


@pytest.mark.parametrize(("p", "text"), [(0.0009999, "<0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_p_values(p: float, text: str) -> None:
    delta = metrics(estimate(0.0, 0.0, 0.0) | {"p": p}, estimate(0.0, 0.0, 0.0) | {"p": p})
    _, steered = lines(summary(delta=delta, others={}))
    assert (steered.cells[2], steered.cells[5]) == (text, text)


def test_every_line_is_as_wide_as_the_header() -> None:
    found = list(lines(summary()))
    assert {len(line.cells) + 1 for line in found} == {len(header())}
    assert not any(re.search(r"nan|None", cell) for line in found for cell in line.cells)


def test_the_gain_over_every_other_arm() -> None:
    gain = {m: {"value": 0.1, "low": 0.05, "high": 0.15, "p": 0.0001} for m in ("mc1", "mc2")}
    summary = {
        "steered": {},
        "delta": gain,
        "others": {"caa": {"steered_over": gain}, "random": {"steered_over": gain}},
    }
    cells = ("+0.100 [+0.050, +0.150]", "<0.001") * 2
    assert list(over_lines(summary)) == [
        ("base", cells),
        ("caa", cells),
        ("random (mean of 5)", cells),
    ]
    assert list(over_lines({"base": {}})) == []
