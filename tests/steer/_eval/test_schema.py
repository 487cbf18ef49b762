"""The published schemas of summary.json and rows.jsonl hold for every kind of run, and are strict.

`docs/summary.schema.json` and `docs/row.schema.json` say what others may rely on.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import quiz
import tiny
from steer._eval import Tuning, evaluate, sweep
from steer._methods import METHODS
from steer._tasks import TASKS
from steer.hooks import Model, add, resid_post

DOCS = Path(__file__).parents[3] / "docs"
SUMMARY, ROW = (
    json.loads((DOCS / f"{name}.schema.json").read_text(encoding="utf-8"))
    for name in ("summary", "row")
)
TUNING = Tuning(layers=(1, 2), strengths=(0.2, 0.5), sources=2)
PLAN = add(resid_post(1), tiny.vector(50), strength=2.0)
ANSWERS: dict[str, Any] = {"limit": 3, "prompt": "plain", "max_new_tokens": 4, "randoms": 1}

KINDS: dict[str, dict[str, Any]] = {
    "alone": {"limit": 1},
    "plan": {"plan": PLAN, "randoms": 2},
    "no controls": {"plan": PLAN, "controls": False},
    "method": {"method": "grains", "beside": ["caa", "repe"], "tuning": TUNING, "randoms": 1},
    "folds": {"method": "caa", "tuning": TUNING, "folds": 2, "randoms": 1, "costs": ["kl"]},
    "answers alone": {"task": "refusal", **ANSWERS},
    "answers": {"task": "refusal", "plan": PLAN, **ANSWERS},
    "two judges": {
        "task": "refusal",
        **ANSWERS,
        "judges": {
            "yes": lambda exchanges: [1.0] * len(exchanges),
            "unsure": lambda exchanges: [None, *[0.25] * (len(exchanges) - 1)],
        },
    },
    "binary": {"task": "truthfulqa-binary"},
    "written": {"task": "truthfulqa-generation", "plan": PLAN, **ANSWERS, "prompt": "qa"},
    "costs": {"plan": PLAN, "costs": ["kl", "perplexity"]},
    "sweep": {"methods": ["caa"], "tuning": TUNING, "rungs": 2, "randoms": 1},
    "sweep without a side effect": {"methods": ["caa"], "tuning": TUNING, "side": None},
}


def run(model: Model, folder: Path, **options: Any) -> Path:
    task = options.pop("task", "truthfulqa")
    data = None if task == "refusal" else quiz.write(folder)
    measure = sweep if "methods" in options else evaluate
    measure(model, task, data=data, out=folder / "out", **options)
    return folder / "out"


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = run(tiny.model(), tmp_path_factory.mktemp("run"), **KINDS["folds"])
    return dict(json.loads((out / "summary.json").read_text()))


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_a_run_writes_fits(model: Model, tmp_path: Path, kind: str) -> None:
    out = run(model, tmp_path, **KINDS[kind])
    files = [out, *(out / "costs").glob("*")]
    for folder in files:
        Draft202012Validator(SUMMARY).validate(json.loads((folder / "summary.json").read_text()))
        for line in (folder / "rows.jsonl").read_text().splitlines():
            Draft202012Validator(ROW).validate(json.loads(line))


@pytest.mark.parametrize("schema", [SUMMARY, ROW], ids=["summary", "row"])
def test_every_field_is_described_and_no_other_is_let_in(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    for where, one in _objects("", schema):
        for name, field in one.get("properties", {}).items():
            assert field.get("description"), f"{where}/{name}"
        assert "additionalProperties" in one, where


def _objects(where: str, schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return
    if "properties" in schema and isinstance(schema.get("type"), str):
        yield where, schema
    for name, inner in schema.items():
        yield from _objects(f"{where}/{name}", inner)


def test_the_names_are_those_of_the_code() -> None:
    metrics = {metric.name for task in TASKS.values() for metric in task.metrics}
    assert set(SUMMARY["$defs"]["metricName"]["enum"]) == metrics
    assert set(SUMMARY["properties"]["task"]["enum"]) == set(TASKS)
    assert set(SUMMARY["properties"]["methods"]["items"]["enum"]) == set(METHODS)
    prompts = {prompt for task in TASKS.values() for prompt in task.prompts}
    assert set(SUMMARY["properties"]["prompt"]["enum"]) == prompts
    keys = {m.value or m.name for task in TASKS.values() for m in task.metrics}
    keys |= {m.weight for task in TASKS.values() for m in task.metrics if m.weight}
    assert keys <= set(ROW["$defs"]["result"]["properties"])
    assert set(METHODS) <= set(ROW["properties"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("more", 1),
        ("base/mc2/more", 1),
        ("base/mc3", {"value": 1.0, "low": None, "high": None}),
        ("base/mc2/value", "0.5"),
        ("others/ablated", {}),
        ("delta/mc2/p", 1.5),
        ("plan", "abc"),
        ("seed", -1),
        ("absent_controls", ["rotated vectors"]),
        ("costs/kl fold 0/others", {}),
        ("chosen/caa, fold 0/grid/0/mc3", 0.5),
    ],
)
def test_what_does_not_belong_is_refused(summary: dict[str, Any], path: str, value: Any) -> None:
    whole = deepcopy(summary)
    *way, last = path.split("/")
    place: Any = whole
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    assert list(Draft202012Validator(SUMMARY).iter_errors(whole))


@pytest.mark.parametrize("name", ["base", "delta", "others", "absent_controls", "tuning", "seed"])
def test_what_is_missing_is_missed(summary: dict[str, Any], name: str) -> None:
    rest = {key: value for key, value in summary.items() if key != name}
    assert list(Draft202012Validator(SUMMARY).iter_errors(rest))
