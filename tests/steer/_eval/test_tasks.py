import json
from hashlib import sha256
from pathlib import Path

import pytest

import quiz
from steer._eval import TASKS
from steer._eval._tasks import prompt_of, task_of
from steer.hooks import DataError, TaskError


def test_questions_come_with_the_hash_of_their_file(tmp_path: Path) -> None:
    path = quiz.write(tmp_path)
    questions, found = TASKS["truthfulqa"].questions(path)
    assert [q.id for q in questions] == list(range(12))
    assert [q.text for q in questions] == [row["question"] for row in quiz.rows()]
    assert found == sha256(path.read_bytes()).hexdigest()


def test_a_limit_keeps_the_first_ones(tmp_path: Path) -> None:
    questions, _ = TASKS["truthfulqa"].questions(quiz.write(tmp_path), limit=3)
    assert [q.id for q in questions] == [0, 1, 2]


def test_the_built_in_set_needs_no_file() -> None:
    questions, _ = TASKS["misconceptions"].questions()
    assert len(questions) >= 200
    assert len({q.text for q in questions}) == len(questions)


def test_truthfulqa_is_brought_by_the_user() -> None:
    with pytest.raises(DataError, match=r"^truthfulqa: needs --data FILE \(TruthfulQA.csv or"):
        TASKS["truthfulqa"].questions()


def test_a_broken_row_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    rows = quiz.rows(3)
    del rows[2]["best_answer"]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"bad.jsonl: row 2: no column 'best_answer'"):
        TASKS["truthfulqa"].questions(path)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one(limit: int) -> None:
    with pytest.raises(
        DataError, match=f"misconceptions: the limit must be at least 1, got {limit}"
    ):
        TASKS["misconceptions"].questions(limit=limit)


def test_unknown_names() -> None:
    with pytest.raises(TaskError, match="unknown task 'mmlu'; expected one of misconceptions, tru"):
        task_of("mmlu")
    with pytest.raises(TaskError, match="unknown prompt 'chat'; expected one of qa, primer"):
        prompt_of("chat")


def test_prompts() -> None:
    assert prompt_of("qa").format(question="Why?") == "Q: Why?\nA:"
    primer = prompt_of("primer").format(question="Why?")
    assert primer.count("Q: ") == 7
    assert primer.startswith("Q: What is human life expectancy in the United States?\nA: Human")
    assert primer.endswith("Barcelona, Spain.\n\nQ: Why?\nA:")
