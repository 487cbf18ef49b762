"""A summary as tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A table as text."""

    title: str
    header: list[str]
    lines: list[list[str]]


def metrics_table(summary: Mapping[str, Any]) -> Table:
    """Each metric, unsteered and steered."""
    header = ["metric", "base"]
    if "steered" in summary:
        header += [_steered(summary), "gain", "p", "detectable"]
    lines = []
    for metric in summary["metrics"]:
        name = metric["name"]
        cells = [_named(metric), interval(summary["base"][name], signed=False)]
        if "steered" in summary:
            delta = summary["delta"][name]
            cells += [interval(summary["steered"][name], signed=False), *_delta(delta)]
            cells.append(_number(delta["mde"], signed=False))
        lines.append(cells)
    return Table(title(summary), header, lines)


def arms_table(summary: Mapping[str, Any], count: int = 2) -> Table | None:
    """The first metrics under every other arm; None if there is none."""
    if not summary.get("others"):
        return None
    lines = []
    for metric in summary["metrics"][:count]:
        name = metric["name"]
        for arm, other in summary["others"].items():
            value, gain = other["value"][name], other["delta"][name]
            over = other["steered_over"][name]
            cells = [name, _arm(summary, arm), interval(value, signed=False)]
            lines.append([*cells, *_delta(gain), *_delta(over)])
    header = ["metric", "arm", "value", "over base", "p", "steered over it", "p"]
    return Table("Is it the vector?", header, lines)


def costs_table(summary: Mapping[str, Any]) -> Table | None:
    """What the plan costs elsewhere; None if that was not measured."""
    if not summary.get("costs"):
        return None
    lines = []
    for cost, found in summary["costs"].items():
        for metric in found["metrics"]:
            name = metric["name"]
            cells = [cost, _named(metric)]
            cells += [interval(found[arm][name], signed=False) for arm in ("base", "steered")]
            lines.append([*cells, *_delta(found["delta"][name])])
    header = ["task", "metric", "base", "steered", "change", "p"]
    return Table("What it costs elsewhere", header, lines)


def agreement_table(summary: Mapping[str, Any]) -> Table | None:
    """How far the judges agree; None with fewer than two."""
    if not summary.get("agreement"):
        return None
    lines = [
        [pair, str(found["items"]), _number(found["agreement"]), _number(found["kappa"])]
        for pair, found in summary["agreement"].items()
    ]
    return Table("Do the judges agree?", ["judges", "answers", "agreement", "kappa"], lines)


def sweep_table(summary: Mapping[str, Any], count: int = 8) -> Table | None:
    """The best of the plans that a sweep tried; None if there was none."""
    swept = summary.get("sweep")
    if swept is None:
        return None
    metric, side = swept["metric"], swept["side_metric"]
    better = next((m["better"] for m in summary["metrics"] if m["name"] == metric), None)
    tried = [point for point in swept["points"] if point.get(metric) is not None]
    tried.sort(key=lambda p: (-p["items"], p[metric] if better == "lower" else -p[metric]))
    lines = []
    for point in tried[:count]:
        gain = {"value": point["gain"], "low": point["low"], "high": point["high"]}
        cells = [point["method"], str(point["layer"]), f"{point['strength']:g}"]
        cells += [str(point["items"]), _number(point[metric])]
        cells += _delta(gain | {"p": point["p_holm"]})
        lines.append(cells + ([] if side is None else [_number(point[side])]))
    header = ["method", "layer", "strength", "items", metric, "gain", "p (Holm)"]
    about = f"The best of {len(swept['points'])} plans on the tuning part"
    return Table(about, header + ([] if side is None else [side]), lines)


def tables(summary: Mapping[str, Any]) -> Iterator[Table]:
    """All tables of a summary."""
    for found in (
        metrics_table(summary),
        arms_table(summary),
        costs_table(summary),
        agreement_table(summary),
        sweep_table(summary),
    ):
        if found is not None:
            yield found


def title(summary: Mapping[str, Any]) -> str:
    """What was measured, and where the plan came from."""
    text = f"{summary['task']} on {summary['model']}, {summary['items']} items"
    tuning = summary["tuning"]
    if isinstance(tuning["items"], list):
        places = zip(tuning["layer"], tuning["strength"], strict=True)
        chosen = ", ".join(f"{layer} at {strength}" for layer, strength in places)
        return f"{text}, {len(tuning['items'])} folds; layer and strength of each: {chosen}"
    if tuning["items"]:
        text += (
            f"; layer {tuning['layer']}, strength {tuning['strength']} chosen on "
            f"{tuning['items']} others"
        )
    return text


def caution(summary: Mapping[str, Any]) -> str | None:
    """What a reader must know before the numbers; None if there is nothing."""
    absent: Sequence[str] = summary.get("absent_controls", [])
    told = [f"Not held against {', '.join(absent)}: a gain may be due to what they would show."]
    told = [*(told if absent else []), *_cut(summary), *_unjudged(summary)]
    told += [f"Note: {note}." for note in summary.get("notes", [])]
    return " ".join(told) or None


def _values(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The estimates of every arm by name."""
    arms = {arm: summary[arm] for arm in ("base", "steered") if arm in summary}
    return arms | {name: other["value"] for name, other in summary.get("others", {}).items()}


def _cut(summary: Mapping[str, Any]) -> list[str]:
    """Whether many answers were cut off: what they would have said is not scored."""
    shares = {arm: v["cut"]["value"] for arm, v in _values(summary).items() if "cut" in v}
    worst = max((share for share in shares.values() if share), default=0.0)
    if worst <= 0.05:
        return []
    told = ", ".join(f"{arm} {share:.0%}" for arm, share in shares.items() if share is not None)
    limit = summary.get("max_new_tokens")
    return [f"Cut off after {limit} tokens: {told} of the answers; see --max-new-tokens."]


def _unjudged(summary: Mapping[str, Any]) -> list[str]:
    """Under which arms the first judge did not say of every answer."""
    missing = {
        arm: summary["items"] - values[name]["items"]
        for arm, values in _values(summary).items()
        for name in ("refused", "judged_true", "judged_invented")
        if name in values and arm != "random"
    }
    told = ", ".join(f"{arm} {count}" for arm, count in missing.items() if count)
    return [f"Without a verdict of the first judge: {told} answers."] if told else []


def _steered(summary: Mapping[str, Any]) -> str:
    names = summary["methods"]
    return f"{names[0]} (steered)" if names else "steered"


def _arm(summary: Mapping[str, Any], name: str) -> str:
    return f"random (mean of {summary['controls']})" if name == "random" else name


def _named(metric: Mapping[str, Any]) -> str:
    sign = {"higher": " ↑", "lower": " ↓"}.get(metric["better"], "")
    return f"{metric['name']}{sign}"


def _delta(delta: Mapping[str, Any]) -> list[str]:
    p = delta["p"]
    small = p is not None and p < 0.001
    return [interval(delta, signed=True), "" if p is None else "<0.001" if small else f"{p:.3f}"]


def interval(estimate: Mapping[str, Any], *, signed: bool) -> str:
    """`0.250 [0.190, 0.310]`."""
    value, low, high = (estimate[k] for k in ("value", "low", "high"))
    if low is None or high is None:
        return _number(value, signed=signed)
    # The end of a wide interval is as good as 0 where it is tiny.
    tiny = value is None or abs(value) < 0.001
    ends = ", ".join(_number(end, signed=signed, tiny=tiny) for end in (low, high))
    return f"{_number(value, signed=signed)} [{ends}]"


def _number(value: float | None, *, signed: bool = False, tiny: bool = True) -> str:
    """Three decimals, or as many digits as a large or a tiny number needs."""
    if value is None:
        return "?"
    sign, size = "+" if signed else "", abs(value)
    if size >= 10_000 or (tiny and 0 < size < 0.001):
        return f"{value:{sign}.1e}"
    return f"{value:{sign}.1f}" if size >= 100 else f"{value:{sign}z.3f}"
