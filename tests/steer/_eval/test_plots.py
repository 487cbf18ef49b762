"""Plots show every number once, and draw without warnings, which are errors here."""

from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from steer._eval._plots import arms_plot, heat_map, svg, trade_off

Points = list[dict[str, Any]]


def numbers(value: float | None, spread: float | None = 0.1) -> dict[str, float | None]:
    known = value is not None and spread is not None
    return {
        "value": value,
        "low": value - spread if known else None,  # type: ignore[operator]
        "high": value + spread if known else None,  # type: ignore[operator]
    }


def summary(others: int, metrics: int = 2, value: float | None = 0.5) -> dict[str, Any]:
    names = [f"metric {n}" for n in range(metrics)]
    arm = {name: numbers(value) for name in names}
    return {
        "metrics": [{"name": name} for name in names],
        "base": arm,
        "steered": arm,
        "others": {f"another method {n}": {"value": arm} for n in range(others)},
    }


def points(methods: int = 1, layers: int = 2, strengths: int = 3) -> Points:
    return [
        {
            "method": f"m{m}",
            "layer": layer,
            "strength": 0.1 * s,
            "mc2": layer + 0.1 * s,
            "side": 0.5 - 0.1 * s,
        }
        for m in range(methods)
        for layer in range(layers)
        for s in range(strengths)
    ]


def images(figure: Figure) -> list[Any]:
    return [image for axis in figure.axes for image in axis.images]


def dots(axis: Axes) -> int:
    return sum(line.get_marker() == "o" for line in axis.lines)


@pytest.mark.parametrize(("others", "metrics", "maps"), [(0, 1, 1), (3, 2, 2), (9, 7, 3)])
def test_every_arm_has_a_dot_in_the_plot_of_each_metric(
    others: int, metrics: int, maps: int
) -> None:
    figure = arms_plot(summary(others, metrics))
    assert len(figure.axes) == maps
    assert [dots(axis) for axis in figure.axes] == [others + 2] * maps
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["base", "steered"]
    assert svg(figure).startswith("<svg")


def test_the_model_alone_is_one_dot() -> None:
    found = summary(0)
    del found["steered"], found["others"]
    figure = arms_plot(found)
    assert [dots(axis) for axis in figure.axes] == [1, 1]
    svg(figure)


def test_no_metric_at_all_is_an_empty_figure() -> None:
    figure = arms_plot(summary(2, metrics=0))
    assert figure.axes == []
    svg(figure)


def test_what_is_not_known_has_no_dot() -> None:
    found = summary(1)
    found["steered"] = {name: numbers(None) for name in found["steered"]}
    found["base"] = {name: numbers(0.25, None) for name in found["base"]}
    figure = arms_plot(found)
    assert [dots(axis) for axis in figure.axes] == [2, 2]
    svg(figure)
    svg(arms_plot(summary(1, value=None)))


@pytest.mark.parametrize(("methods", "layers", "strengths"), [(1, 1, 1), (1, 30, 9), (3, 2, 4)])
def test_a_map_for_each_method(methods: int, layers: int, strengths: int) -> None:
    figure = heat_map(points(methods, layers, strengths), "mc2", 0.25)
    found = images(figure)
    assert [image.get_array().shape for image in found] == [(layers, strengths)] * methods
    assert found[0].get_array()[-1, 0] == layers - 1
    assert figure.axes[-1].get_ylabel() == "mc2 (base 0.25)"
    assert svg(figure).startswith("<svg")


def test_points_that_were_not_measured_stay_empty() -> None:
    some = points()
    some[0]["mc2"] = None
    del some[4]["mc2"]
    (image,) = images(heat_map(some, "mc2", None))
    assert image.get_array().mask.tolist() == [[True, False, False], [False, True, False]]
    svg(heat_map([{**point, "mc2": None} for point in some], "mc2", None))


def test_a_dot_for_each_plan_and_a_circle_round_the_best() -> None:
    some = points(methods=2)
    some[0]["side"] = None
    figure = trade_off(some, "mc2", "side", some[3])
    (axis,) = figure.axes
    clouds: list[Any] = [c for c in axis.collections if isinstance(c, PathCollection)]
    assert [len(cloud.get_offsets()) for cloud in clouds] == [5, 6, 1]
    assert clouds[-1].get_offsets().tolist() == [[some[3]["side"], some[3]["mc2"]]]
    assert len(axis.texts) == 11
    assert svg(figure).startswith("<svg")


def test_without_a_best_or_any_point_there_is_no_circle() -> None:
    (axis,) = trade_off(points(), "mc2", "side", None).axes
    assert len(axis.collections) == 1
    svg(trade_off([], "mc2", "side", None))


def test_the_same_figure_is_the_same_text() -> None:
    first, second = (svg(heat_map(points(2), "mc2", 0.5)) for _ in range(2))
    assert first == second
    assert svg(arms_plot(summary(2))) == svg(arms_plot(summary(2)))


def test_names_cannot_leave_the_picture() -> None:
    some = [{**point, "method": "--><script>x</script>"} for point in points()]
    assert "<script" not in svg(heat_map(some, "mc2", None))
