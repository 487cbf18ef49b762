"""How far judges agree, pair by pair."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from steer.hooks import DataError


def agreement(
    verdicts: Mapping[str, Sequence[float | None]],
) -> dict[str, dict[str, int | float | None]]:
    """Agreement of each pair of judges on the exchanges that both could judge.

    Verdicts of 0.5 and more count as yes. With `p` the share of equal verdicts and `e` the share
    expected of independent judges with the same shares of yes, `kappa = (p - e) / (1 - e)`
    (Cohen 1960, https://doi.org/10.1177/001316446002000104).

    Args:
        verdicts: what each judge said of the same exchanges, in the same order.

    Returns:
        For each pair, named `"a vs b"` in the order given: `items` that both judged, `agreement`
        (None without items) and `kappa` (None if both judges always say the same one thing).

    Raises:
        DataError: if the judges did not judge equally many exchanges.
    """
    lengths = {name: len(values) for name, values in verdicts.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"agreement: expected a verdict an exchange of every judge, got {lengths}")
    return {f"{a} vs {b}": _pair(verdicts[a], verdicts[b]) for a, b in combinations(verdicts, 2)}


def _pair(
    first: Sequence[float | None], second: Sequence[float | None]
) -> dict[str, int | float | None]:
    both = [
        (a >= 0.5, b >= 0.5)
        for a, b in zip(first, second, strict=True)
        if a is not None and b is not None
    ]
    if not both:
        return {"items": 0, "agreement": None, "kappa": None}
    share = sum(a == b for a, b in both) / len(both)
    yes_a, yes_b = (sum(pair[i] for pair in both) / len(both) for i in (0, 1))
    chance = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    kappa = (share - chance) / (1 - chance) if chance < 1 else None
    return {"items": len(both), "agreement": share, "kappa": kappa}
