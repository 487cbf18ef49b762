"""The evaluation tasks by name."""

from steer.hooks import TaskError

from ._hellaswag import HELLASWAG
from ._ifeval import IFEVAL, score_ifeval
from ._maths import GSM8K, MATH500, score_gsm8k, score_math
from ._pictures import MMHAL, POPE
from ._questions import Question, pairs_of, question_of
from ._refusal import JAILBREAK, OVER_REFUSAL, REFUSAL
from ._request import Request
from ._setting import Setting
from ._task import Arms, Item, Metric, Result, Task
from ._templates import TEMPLATES
from ._texts import KL, PERPLEXITY
from ._toxicchat import TOXICCHAT
from ._truthfulqa import MISCONCEPTIONS, TRUTHFULQA, mc1, mc2
from ._truthfulqa_binary import TRUTHFULQA_BINARY
from ._truthfulqa_generation import TRUTHFULQA_GENERATION

__all__ = [
    "TASKS",
    "TEMPLATES",
    "Arms",
    "Item",
    "Metric",
    "Question",
    "Request",
    "Result",
    "Setting",
    "Task",
    "mc1",
    "mc2",
    "pairs_of",
    "question_of",
    "score_gsm8k",
    "score_ifeval",
    "score_math",
    "task_of",
]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        TRUTHFULQA,
        TRUTHFULQA_BINARY,
        TRUTHFULQA_GENERATION,
        MISCONCEPTIONS,
        REFUSAL,
        OVER_REFUSAL,
        JAILBREAK,
        TOXICCHAT,
        PERPLEXITY,
        KL,
        HELLASWAG,
        GSM8K,
        MATH500,
        IFEVAL,
        POPE,
        MMHAL,
    )
}


def task_of(name: str) -> Task:
    """The task of that name.

    Raises:
        TaskError: if there is none.
    """
    if name not in TASKS:
        raise TaskError(f"eval: unknown task {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name]
