"""Fills batches by token count, so that short and long rows both use the machine well."""

from collections.abc import Sequence


def by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group row indices, longest first, so that no padded batch exceeds `budget` tokens.

    Longest first, so that running out of memory shows at once and not after an hour. A row longer
    than the budget gets a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    width = 0
    for i in order:
        if batches and (len(batches[-1]) + 1) * width <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
            width = max(1, lengths[i])
    return batches
