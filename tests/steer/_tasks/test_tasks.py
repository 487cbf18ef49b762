import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
from steer._eval._items import data_of
from steer._judges import phrases
from steer._sources import NAMED
from steer._tasks import TASKS, Result, Setting, Task, task_of
from steer._tasks._answering import FLUENCY
from steer.data import path_of
from steer.hooks import DataError, TaskError

ORDER = """
truthfulqa truthfulqa-binary truthfulqa-generation misconceptions refusal over-refusal jailbreak
toxicchat perplexity kl hellaswag gsm8k math500 ifeval pope mmhal
"""
IMAGE = {"image": "a.png"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "toxicchat": [{"user_input": "a b", "toxicity": n, "jailbreaking": 0} for n in (0, 1)],
    "perplexity": [{"text": "the sky is blue"}],
    "kl": [{"text": "the sky is blue"}],
    "hellaswag": [{"ctx": "the sky is", "endings": ["blue", "red"], "label": 0}],
    "gsm8k": [{"question": "q", "answer": "#### 3"}],
    "math500": [{"problem": "q", "answer": "3"}],
    "ifeval": [
        {"prompt": "q", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    ],
    "pope": [{"question": "q", "label": label} | IMAGE for label in ("yes", "no")],
    "mmhal": [{"question": "q", "gt_answer": "a", "absent": ["dog"]} | IMAGE],
}


def test_tasks_are_in_the_order_of_their_topics() -> None:
    assert list(TASKS) == ORDER.split()
    assert all(task_of(name) is task and task.name == name for name, task in TASKS.items())


def test_an_unknown_task() -> None:
    with pytest.raises(TaskError, match="^eval: unknown task 'mmlu'; expected one of truthfulqa, "):
        task_of("mmlu")


@pytest.mark.parametrize("name", ORDER.split())
def test_a_task_is_whole(name: str) -> None:
    task = TASKS[name]
    assert task.main is task.metrics[0]
    assert task.main.better is not None
    names = [metric.name for metric in task.metrics]
    assert len(set(names)) == len(names)
    assert set(task.named) <= NAMED.keys()
    assert task.default is None or task.default in task.named
    generates = task.new_tokens is not None
    assert generates is (set(FLUENCY) <= set(task.metrics))
    assert all(m.weight is not None for m in task.metrics if m.exponential)
    assert not any(m.proportion and (m.weight or m.exponential) for m in task.metrics)


@pytest.mark.parametrize("name", ORDER.split())
def test_every_metric_is_found_in_every_result(
    name: str, scored: Callable[..., list[Result]]
) -> None:
    task = TASKS[name]
    rows = ROWS.get(name) or (
        quiz.rows(2) if task.name.startswith(("truth", "misc")) else [{"prompt": "p"}]
    )
    found = scored(task, rows, ["3 dogs"] * len(rows), task.prompts[-1], {"phrases": phrases})
    assert len(found) == len(rows)
    for metric in task.metrics:
        values = [result[metric.value or metric.name] for result in found]
        assert any(value is not None for value in values), metric.name
        assert all(value is None or value >= 0 for value in values) or metric.name in (
            "margin",
            "f1_gain",
        )
        if metric.proportion:
            assert set(values) <= {0.0, 1.0, None}
        if metric.weight is not None:
            assert all(result[metric.weight] >= 0 for result in found)


@pytest.mark.parametrize("name", ["misconceptions", "refusal", "over-refusal", "perplexity", "kl"])
def test_built_in_data_is_accepted(name: str) -> None:
    task = TASKS[name]
    items = data_of(task).items
    assert len(items) >= 60
    assert [item.id for item in items] == list(range(len(items)))


def test_the_built_in_texts_are_read_whole() -> None:
    texts = [json.loads(line)["text"] for line in path_of("neutral").read_text().splitlines()]
    joined = "".join(item.text for item in data_of(TASKS["perplexity"]).items)
    assert joined == "".join(text.strip() for text in texts)


def test_data_is_brought_by_the_user() -> None:
    with pytest.raises(DataError, match=r"^truthfulqa: needs --data FILE \(TruthfulQA.csv or"):
        data_of(TASKS["truthfulqa"])


def test_a_broken_row_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    rows = quiz.rows(3)
    del rows[2]["best_answer"]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"bad.jsonl: row 2: no column 'best_answer'"):
        data_of(TASKS["truthfulqa"], path)


def test_only_the_labelled_half_may_be_of_use(tmp_path: Path) -> None:
    path = tmp_path / "harmful.jsonl"
    path.write_text(json.dumps({"prompt": "p", "label": "harmful"}))
    assert len(data_of(TASKS["refusal"], path).items) == 1
    with pytest.raises(DataError, match="no row is of use to over-refusal"):
        data_of(TASKS["over-refusal"], path)


def test_metrics_of_a_task_do_not_depend_on_its_neighbours() -> None:
    task: Task = TASKS["hellaswag"]
    items = [task.item(ROWS["hellaswag"][0] | {"label": n % 2}, n) for n in range(4)]
    setting = Setting(tiny.model(), "plain", batch_tokens=8)
    whole = task.measure(setting, items, {"base": None})["base"]
    singly = [task.measure(setting, [item], {"base": None})["base"][0] for item in items]
    for one, other in zip(whole, singly, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert (one["acc"], one["acc_norm"]) == (other["acc"], other["acc_norm"])
