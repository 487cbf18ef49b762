"""What judges say of answers, and the verdict of the first one as a metric."""

from collections.abc import Sequence

from steer._judges import Exchange

from ._setting import Setting
from ._task import Result


def verdicts(setting: Setting, exchanges: Sequence[Exchange], metric: str) -> list[Result]:
    """For each exchange the metric (1, 0, or None without a verdict) and every judge's probability.

    Args:
        setting: has the judges; the first decides.
        exchanges: what was asked and answered.
        metric: the name that the first judge's verdict gets.
    """
    said = {judge: run(exchanges) for judge, run in setting.judges.items()}
    found: list[Result] = []
    for n in range(len(exchanges)):
        each = {judge: values[n] for judge, values in said.items()}
        first = next(iter(each.values()), None)
        found.append({metric: None if first is None else float(first >= 0.5), "judged": each})
    return found
