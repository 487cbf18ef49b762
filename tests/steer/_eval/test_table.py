from typing import Any

import pytest

from steer._eval._table import (
    agreement_table,
    arms_table,
    caution,
    costs_table,
    interval,
    metrics_table,
    tables,
    title,
)

Estimate = dict[str, float | None]


def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return {"value": value, "low": low, "high": high}


def gain(value: float, low: float | None, high: float | None, p: float | None) -> Estimate:
    return estimate(value, low, high) | {"p": p, "mde": 0.25}


METRICS = [
    {"name": "mc2", "about": "", "better": "higher"},
    {"name": "loss", "about": "", "better": "lower"},
    {"name": "tokens", "about": "", "better": None},
]
BASE = {
    "mc2": estimate(0.25, 0.19, 0.31),
    "loss": estimate(0.4, 0.35004, 0.45),
    "tokens": estimate(123.456, 100.04, 150.0),
}
STEERED = BASE | {"mc2": estimate(0.5, 0.4, 0.6)}
DELTA = {
    "mc2": gain(0.25, 0.1, 0.4, 0.00049),
    "loss": gain(-0.0125, -0.1, 0.1, 0.109375),
    "tokens": gain(0.0, None, None, None),
}
OTHER = {"value": BASE, "delta": DELTA, "steered_over": DELTA}
ALONE = {
    "task": "truthfulqa",
    "model": "tiny",
    "items": 7,
    "metrics": METRICS,
    "base": BASE,
    "methods": [],
    "controls": None,
    "tuning": {"items": 0, "pairs": None, "layer": None, "strength": None},
}


def summary(**changes: Any) -> dict[str, Any]:
    whole = ALONE | {"steered": STEERED, "delta": DELTA, "controls": 4}
    return whole | {"others": {"flipped": OTHER, "random": OTHER}} | changes


@pytest.mark.parametrize(
    ("given", "signed", "text"),
    [
        ((0.25, 0.19, 0.31), False, "0.250 [0.190, 0.310]"),
        ((0.0304, -0.0104, 0.07), True, "+0.030 [-0.010, +0.070]"),
        ((1.0, None, None), False, "1.000"),
        ((-0.5, None, None), True, "-0.500"),
        ((None, None, None), False, "?"),
        ((0.0, 0.0, 0.0), True, "+0.000 [+0.000, +0.000]"),
        ((-0.0, None, None), False, "0.000"),
        ((0.000123, 0.0000456, 0.00789), False, "1.2e-04 [4.6e-05, 0.008]"),
        ((0.0, -0.000123, 0.000123), True, "+0.000 [-1.2e-04, +1.2e-04]"),
        ((0.499, 0.00001, 0.997), False, "0.499 [0.000, 0.997]"),
        ((123.456, 99.9994, 150.04), False, "123.5 [99.999, 150.0]"),
        ((1234567.0, 0.5, 2e9), False, "1.2e+06 [0.500, 2.0e+09]"),
    ],
)
def test_a_value_and_its_interval(
    given: tuple[float | None, float | None, float | None], signed: bool, text: str
) -> None:
    assert interval(estimate(*given), signed=signed) == text


def test_each_metric_without_and_with_steering() -> None:
    table = metrics_table(summary())
    assert table.title == "truthfulqa on tiny, 7 items"
    assert table.header == ["metric", "base", "steered", "gain", "p", "detectable"]
    assert table.lines == [
        [
            "mc2 ↑",
            "0.250 [0.190, 0.310]",
            "0.500 [0.400, 0.600]",
            "+0.250 [+0.100, +0.400]",
            "<0.001",
            "0.250",
        ],
        [
            "loss ↓",
            "0.400 [0.350, 0.450]",
            "0.400 [0.350, 0.450]",
            "-0.013 [-0.100, +0.100]",
            "0.109",
            "0.250",
        ],
        ["tokens", "123.5 [100.0, 150.0]", "123.5 [100.0, 150.0]", "+0.000", "", "0.250"],
    ]


def test_the_first_method_is_the_steered_one() -> None:
    assert metrics_table(summary(methods=["grains", "caa"])).header[2] == "grains (steered)"


def test_the_model_alone_has_one_column() -> None:
    (table,) = tables(ALONE)
    assert table.header == ["metric", "base"]
    assert [len(line) for line in table.lines] == [2, 2, 2]


@pytest.mark.parametrize(
    ("p", "text"), [(0.0009999, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (None, "")]
)
def test_p_values(p: float | None, text: str) -> None:
    delta = DELTA | {"mc2": gain(0.0, 0.0, 0.0, p)}
    assert metrics_table(summary(delta=delta)).lines[0][4] == text


def test_every_other_arm_stands_beside_the_plan() -> None:
    over = DELTA | {"mc2": gain(0.125, 0.0, 0.25, 0.5)}
    caa = {"value": STEERED, "delta": DELTA, "steered_over": over}
    table = arms_table(summary(others={"caa": caa, "random": OTHER}))
    assert table is not None
    assert [line[:2] for line in table.lines] == [
        ["mc2", "caa"],
        ["mc2", "random (mean of 4)"],
        ["loss", "caa"],
        ["loss", "random (mean of 4)"],
    ]
    assert table.lines[0][2:] == [
        "0.500 [0.400, 0.600]",
        "+0.250 [+0.100, +0.400]",
        "<0.001",
        "+0.125 [+0.000, +0.250]",
        "0.500",
    ]
    assert arms_table(summary(others={})) is None


def test_costs() -> None:
    cost = {"metrics": METRICS[:1], "base": BASE, "steered": STEERED, "delta": DELTA}
    table = costs_table(summary(costs={"kl": cost, "perplexity=x.txt": cost}))
    assert table is not None
    numbers = ["0.250 [0.190, 0.310]", "0.500 [0.400, 0.600]", "+0.250 [+0.100, +0.400]", "<0.001"]
    assert table.lines == [
        ["kl", "mc2 ↑", *numbers],
        ["perplexity=x.txt", "mc2 ↑", *numbers],
    ]
    assert costs_table(summary(costs={})) is None


def test_agreement_of_judges() -> None:
    found = {
        "a vs b": {"items": 12, "agreement": 0.75, "kappa": 0.5},
        "a vs c": {"items": 0, "agreement": None, "kappa": None},
    }
    table = agreement_table(summary(agreement=found))
    assert table is not None
    assert table.lines == [["a vs b", "12", "0.750", "0.500"], ["a vs c", "0", "?", "?"]]
    assert agreement_table(summary(agreement={})) is None


def test_every_line_is_as_wide_as_its_header() -> None:
    cost = {"metrics": METRICS, "base": BASE, "steered": STEERED, "delta": DELTA}
    found = list(tables(summary(costs={"kl": cost})))
    assert len(found) == 3
    for table in found:
        assert {len(line) for line in table.lines} == {len(table.header)}
        assert not any("nan" in cell or "None" in cell for line in table.lines for cell in line)


def test_the_title_says_how_the_plan_was_chosen() -> None:
    one = {"items": 5, "pairs": 3, "layer": 2, "strength": 0.3}
    assert title(summary(tuning=one)) == (
        "truthfulqa on tiny, 7 items; layer 2, strength 0.3 chosen on 5 others"
    )
    two = {"items": [5, 6], "pairs": [3, 3], "layer": [2, 1], "strength": [0.3, 0.15]}
    assert title(summary(tuning=two)) == (
        "truthfulqa on tiny, 7 items, 2 folds; layer and strength of each: 2 at 0.3, 1 at 0.15"
    )


def test_the_caution_names_what_is_missing() -> None:
    assert caution(ALONE) is None
    assert caution(summary(absent_controls=[])) is None
    assert caution(summary(absent_controls=["random vectors", "the flipped vector"])) == (
        "Not held against random vectors, the flipped vector: "
        "a gain may be due to what they would show."
    )


def test_the_caution_tells_of_answers_that_were_cut_and_of_verdicts_that_are_missing() -> None:
    def values(cut: float, judged: int) -> dict[str, Any]:
        return {"cut": estimate(cut, 0, 1) | {"items": 7}, "refused": {"items": judged}}

    whole = summary(absent_controls=[], max_new_tokens=64, others={}, notes=["the data are old"])
    whole |= {"base": values(0.5, 7), "steered": values(0.04, 5)}
    assert caution(whole) == (
        "Cut off after 64 tokens: base 50%, steered 4% of the answers; see --max-new-tokens. "
        "Without a verdict of the first judge: steered 2 answers. Note: the data are old."
    )
    whole |= {"base": values(0.05, 7), "steered": values(0.0, 7), "notes": []}
    assert caution(whole) is None
