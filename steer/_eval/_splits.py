"""Which items are for tuning and which are reported."""

import random

from steer.hooks import DataError

from ._items import Items


def splits(items: Items, folds: int, seed: int) -> list[tuple[Items, Items]]:
    """Pairs of a tuning part and a reporting part, disjoint, each in the order of the data.

    Args:
        items: all items.
        folds: 1 gives two halves, of which one is reported; more give as many pairs, and every item
            is reported in one of them.
        seed: of the shuffle.

    Raises:
        DataError: if there are too few items.
    """
    if folds < 1:
        raise DataError(f"tuning: folds must be at least 1, got {folds}")
    parts = max(2, folds)
    if len(items) < 2 * parts:
        raise DataError(
            f"tuning needs at least {2 * parts} items for {parts} parts, got {len(items)}; raise "
            "the limit"
        )
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    # The first half tunes and the second is reported; more folds are cut from the same order.
    cuts = [round(n * len(order) / parts) for n in range(parts + 1)]
    cuts[1] = len(order) // 2 if parts == 2 else cuts[1]
    found = []
    for n in range(parts):
        tuning = set(order[: cuts[n]]) | set(order[cuts[n + 1] :])
        mine = [k for k in range(len(items)) if k in tuning]
        theirs = [k for k in range(len(items)) if k not in tuning]
        found.append((items.some(mine), items.some(theirs)))
    return found[1:] if folds == 1 else found
