"""What a plan costs elsewhere: other tasks, measured under the same plan."""

import json
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

import byhand
import quiz
import tiny
from steer._eval import Evaluation, Tuning, _evaluate, evaluate
from steer._eval._costs import parsed
from steer._tasks import TASKS
from steer.hooks import DataError, Model, Plan, RunError, TaskError, add, resid_post

VECTOR = tiny.vector(50)
TEXT = "the sky is blue and the sea is blue . the sun is hot and the ice is cold ."
QUICK = Tuning(layers=(1, 2), strengths=(0.2, 0.5), sources=2)


def plan() -> Plan:
    return add(resid_post(1), VECTOR, strength=2.0)


def run(tmp_path: Path, costs: list[str], **options: Any) -> Evaluation:
    """With a plan, unless there is a method."""
    given = None if "method" in options else plan()
    data = quiz.write(tmp_path)
    return evaluate(
        tiny.model(), "truthfulqa", given, data=data, costs=costs, controls=False, **options
    )


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def loss(model: Model, strength: float) -> float:
    """The mean loss of a token of the text, one forward pass and no batch."""
    ids = model.token_ids(TEXT)
    with byhand.adding(model.anatomy.layers[1], strength * VECTOR, 0):
        return -float(byhand.score(model.hf, ids[:1], ids[1:])) / (len(ids) - 1)


def test_perplexity_of_a_file(tmp_path: Path, text: Path) -> None:
    name = f"perplexity={text}"
    found = run(tmp_path, [name]).summary["costs"]
    assert list(found) == [name]
    model = tiny.model()
    for arm, strength in (("base", 0.0), ("steered", 2.0)):
        expected = exp(loss(model, strength))
        assert found[name][arm]["perplexity"]["value"] == pytest.approx(expected, rel=1e-3)
    assert (found[name]["items"], found[name]["origin"]) == (1, f"file {text}")
    assert [metric["name"] for metric in found[name]["metrics"]] == ["perplexity", "bits"]


def test_the_divergence_from_the_model_alone(tmp_path: Path) -> None:
    found = run(tmp_path, ["kl"]).summary["costs"]["kl"]
    assert found["base"]["kl"]["value"] == 0.0
    assert found["base"]["agreed"]["value"] == 1.0
    assert found["steered"]["kl"]["value"] > 0.01
    assert found["origin"] == "built-in neutral"


def test_a_task_on_some_items_of_a_file(tmp_path: Path) -> None:
    name = f"truthfulqa={quiz.write(tmp_path)}:5"
    found = run(tmp_path, [name])
    cost = found.summary["costs"][name]
    assert cost["items"] == 5
    for arm in ("base", "steered"):  # the same questions under the same plan
        mean = sum(row[arm]["mc2"] for row in found.rows[:5]) / 5
        assert cost[arm]["mc2"]["value"] == pytest.approx(mean, abs=1e-6)


def test_none(tmp_path: Path) -> None:
    assert run(tmp_path, []).summary["costs"] == {}


def test_each_fold_is_measured_under_its_own_plan(tmp_path: Path, text: Path) -> None:
    out, cost = tmp_path / "out", f"perplexity={text}"
    options: dict[str, Any] = {"method": "caa", "tuning": QUICK, "folds": 2, "out": out}
    found = run(tmp_path, [cost], **options).summary
    assert list(found["costs"]) == [f"{cost} fold 0", f"{cost} fold 1"]
    for n in (0, 1):
        one = Plan.load(out / f"caa-{n}.safetensors")
        assert one.hash == found["plan"][n]
        alone = evaluate(tiny.model(), "perplexity", one, data=text, controls=False).summary
        told = found["costs"][f"{cost} fold {n}"]
        assert told["steered"] == alone["steered"]
        assert told["delta"] == alone["delta"]


def test_the_folder_of_a_cost_goes_on(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs, out = ["kl", f"perplexity={text}"], tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_evaluate, "write_report", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, costs, out=out)  # stops after the rows of the first cost
    (folder,) = (out / "costs").iterdir()
    rows = (folder / "rows.jsonl").read_bytes()
    measured: list[str] = []
    monkeypatch.setitem(TASKS, "kl", _noting(measured, "kl"))
    again = run(tmp_path, costs, out=out).summary
    assert measured == []  # its rows were there
    assert (folder / "rows.jsonl").read_bytes() == rows
    fresh = run(tmp_path, costs, out=tmp_path / "fresh").summary
    assert again | {"seconds": 0} == fresh | {"seconds": 0}
    assert measured != []
    assert json.loads((out / "summary.json").read_text())["costs"] == again["costs"]


def _noting(measured: list[str], name: str) -> Any:
    task = TASKS[name]

    def measure(*arguments: Any) -> Any:
        measured.append(name)
        return task.measure(*arguments)

    return replace(task, measure=measure)


def test_a_cost_on_other_data_is_another_run(tmp_path: Path, text: Path) -> None:
    cost, out = f"perplexity={text}", tmp_path / "out"
    run(tmp_path, [cost], out=out)
    text.write_text(f"{TEXT} yes .")
    with pytest.raises(RunError, match=r"holds another run \(data was .*choose another --out"):
        run(tmp_path, [cost], out=out)


@pytest.mark.parametrize(
    ("cost", "found"),
    [
        ("kl", ("kl", None, 0, None)),
        ("hellaswag=a.jsonl", ("hellaswag", "a.jsonl", 0, None)),
        ("hellaswag=a.jsonl:100", ("hellaswag", "a.jsonl", 0, 100)),
        ("toxicchat=hub:lmsys/toxic-chat", ("toxicchat", "hub:lmsys/toxic-chat", 0, None)),
        ("toxicchat=hub:lmsys/toxic-chat:50", ("toxicchat", "hub:lmsys/toxic-chat", 0, 50)),
        ("pope=C:\\x.jsonl:5", ("pope", "C:\\x.jsonl", 0, 5)),
        ("refusal=a=b.jsonl", ("refusal", "a=b.jsonl", 0, None)),
        ("kl=neutral:12-60", ("kl", "neutral", 12, 48)),
    ],
)
def test_how_a_cost_is_named(cost: str, found: tuple[str, str | None, int, int | None]) -> None:
    assert parsed(cost) == found


@pytest.mark.parametrize("cost", ["", "=x", "kl=", "kl=:5", "kl=neutral:12-12"])
def test_a_cost_that_is_none(cost: str) -> None:
    with pytest.raises(DataError, match="expected TASK, TASK=DATA, TASK=DATA:N or TASK=DATA:N-M"):
        parsed(cost)


@pytest.mark.parametrize(
    ("cost", "error", "message"),
    [
        ("nothing", TaskError, "eval: unknown task 'nothing'"),
        ("hellaswag", DataError, "hellaswag: needs --data FILE"),
        ("perplexity=none.txt", DataError, "no file and no named data 'none.txt'"),
        ("kl=neutral:0", DataError, "kl: the limit must be at least 1, got 0"),
    ],
)
def test_a_cost_that_cannot_be_measured_says_so_before_anything_is_run(
    tmp_path: Path, cost: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path, ["kl", cost], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cost_on_a_range_leaves_out_what_comes_before(tmp_path: Path) -> None:
    found = run(tmp_path, ["kl=neutral:2", "kl=neutral:1-2", "kl=neutral:1"]).summary["costs"]
    whole, last, first = (found[name] for name in found)
    assert [cost["items"] for cost in (whole, last, first)] == [2, 1, 1]
    assert last["steered"]["kl"]["value"] != first["steered"]["kl"]["value"]
