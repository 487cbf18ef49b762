"""Fills batches by token count, so that short and long rows both use the machine well."""

from collections.abc import Sequence


def by_tokens(lengths: Sequence[int], budget: int, spare: float | None = None) -> list[list[int]]:
    """Group row indices, longest first, so that no padded batch exceeds `budget` tokens.

    Longest first, so that running out of memory shows at once and not after an hour. A row longer
    than the budget gets a batch of its own.

    Args:
        lengths: tokens of each row.
        budget: tokens of a batch, padding included.
        spare: the share of padding above which a batch of at least a quarter of the budget is
            closed; None fills every batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    width = real = 0
    for i in order:
        padded = (len(batches[-1]) + 1) * width if batches else 0
        wasteful = (
            spare is not None
            and padded - width >= budget / 4
            and padded - real - lengths[i] > spare * padded
        )
        if batches and padded <= budget and not wasteful:
            batches[-1].append(i)
            real += lengths[i]
        else:
            batches.append([i])
            width = real = max(1, lengths[i])
    return batches
