from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quiz
from steer._eval import Tuning
from steer._eval._items import Items, data_of
from steer._eval._share import Share
from steer._eval._tune import Tuner, overlap, shuffled_labels
from steer._tasks import TASKS, Question, Request, Result, Setting, Task, pairs_of
from steer.attribution import Pair, caa
from steer.hooks import DataError, Model, Plan, RunError

TEMPLATE = "Q: {question} A:"
TRIED = Tuning(layers=(0, 1), strengths=(0.1, 0.4, 0.8), sources=4)
# By layer, then by strength: MC1 is best at (0, 0.4), MC2 at (1, 0.1).
TABLE = [(0.2, 0.3), (0.6, 0.4), (0.1, 0.5), (0.3, 0.7), (0.5, 0.6), (0.4, 0.2)]


class Watched:
    """What tuning extracted from and judged with; measurements come from a table."""

    def __init__(self) -> None:
        self.sources: list[Question] = []
        self.judges: list[list[int]] = []

    def pairs(self, questions: Sequence[Question], prompt: str, seed: int) -> list[Pair]:
        self.sources = list(questions)
        return pairs_of(questions, TEMPLATE, seed)

    def measure(
        self, _: Setting, questions: Sequence[Question], arms: Mapping[str, Plan]
    ) -> dict[str, list[Result]]:
        mc1, mc2 = TABLE[len(self.judges) % len(TABLE)]
        self.judges.append([q.id for q in questions])
        return {"tried": [{"mc1": mc1, "mc2": mc2} for _ in questions]}

    @property
    def task(self) -> Task:
        return replace(TASKS["truthfulqa"], pairs=self.pairs, measure=self.measure)


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return data_of(TASKS["truthfulqa"], quiz.write(tmp_path)).items


def tuner(model: Model, task: Task, tuning: Tuning = TRIED, folder: Path | None = None) -> Tuner:
    return Tuner(task, Setting(model, "qa", seed=3), tuning, None, folder, Share())


@pytest.mark.parametrize("change", [{"layers": ()}, {"strengths": ()}, {"sources": 0}])
def test_there_must_be_something_to_try(change: dict[str, Any]) -> None:
    with pytest.raises(
        DataError, match=r"^Tuning: needs layers, strengths and sources, got Tuning"
    ):
        Tuning(**change)


def test_a_metric_that_cannot_decide() -> None:
    assert Tuning().metric_of(TASKS["truthfulqa"]).name == "mc2"
    with pytest.raises(DataError, match=r"^Tuning: truthfulqa has no metric 'mc3' to choose by; e"):
        Tuning(metric="mc3").metric_of(TASKS["truthfulqa"])


def test_layers_that_are_not_named_lie_in_the_middle(model: Model) -> None:
    assert Tuning(layers=(3,)).layers_in(model) == (3,)
    # 40 % to 67 % of four layers is 1.6 to 2.68.
    assert Tuning().layers_in(model) == (1, 2)


@pytest.mark.parametrize(("metric", "layer", "strength"), [("mc1", 0, 0.4), ("mc2", 1, 0.1)])
def test_the_best_layer_and_strength_are_chosen(
    model: Model, items: Items, metric: str, layer: int, strength: float
) -> None:
    watched = Watched()
    found = tuner(model, watched.task, replace(TRIED, metric=metric)).tuned("caa", items, None)
    places = [(n, s) for n in (0, 1) for s in (0.1, 0.4, 0.8)]
    for row, place, (mc1, mc2) in zip(found.how["grid"], places, TABLE, strict=True):
        assert (row["method"], row["layer"], row["strength"]) == ("caa", *place)
        assert (row["mc1"], row["mc2"]) == pytest.approx((mc1, mc2))
    pairs = pairs_of(watched.sources, TEMPLATE, 3)
    told = [found.how[name] for name in ("layer", "strength", "pairs", "items")]
    assert told == [layer, strength, len(pairs), 8]
    assert found.plan.hash == found.how["plan"]
    assert found.plan.hash == caa(model, pairs, layer, strength=strength).hash
    swapped = shuffled_labels(pairs, 3)
    assert found.shuffled.hash == caa(model, swapped, layer, strength=strength).hash


@pytest.mark.parametrize(("sources", "count"), [(1, 1), (4, 4), (6, 6), (100, 6)])
def test_items_that_give_pairs_never_judge(
    model: Model, items: Items, sources: int, count: int
) -> None:
    watched = Watched()
    tuner(model, watched.task, replace(TRIED, sources=sources)).tuned("caa", items, None)
    gave = [q.id for q in watched.sources]
    assert len(gave) == count
    assert len(watched.judges) == 6
    for judges in watched.judges:
        assert sorted(gave + judges) == list(range(12))


def test_given_pairs_leave_all_items_to_judge(model: Model, items: Items) -> None:
    watched, mine = Watched(), [Pair("Q: Is it hot ? A:", " yes", " no")] * 3
    made = tuner(model, watched.task)._replace(pairs=mine).tuned("caa", items, None)
    assert (made.how["pairs"], made.how["items"], watched.sources) == (3, 12, [])


def test_a_task_without_pairs(model: Model, items: Items) -> None:
    task = replace(TASKS["truthfulqa"], pairs=None)
    with pytest.raises(
        DataError, match="^truthfulqa has no pairs to learn from; give --pairs FILE"
    ):
        tuner(model, task).tuned("caa", items, None)


def test_the_grid_is_measured_under_the_plan(model: Model, items: Items) -> None:
    """At strength 0 nothing changes, at others the layer's own vector does."""
    tried = Tuning(layers=(0, 1), strengths=(0.0, 0.8))
    grid = tuner(model, TASKS["truthfulqa"], tried).tuned("caa", items, None).how["grid"]
    still_0, moved_0, still_1, moved_1 = (row["mc2"] for row in grid)
    assert still_0 == still_1
    assert len({still_0, moved_0, moved_1}) == 3


def test_options_reach_their_method_only(model: Model, items: Items) -> None:
    options = {"caa": {"read": "mean"}, "repe": {"keep_norm": False}}
    made = tuner(model, Watched().task, replace(TRIED, options=options))
    one, other = (made.tuned(name, items, None).plan for name in ("caa", "repe"))
    assert (one.meta["read"], other.meta["read"]) == ("mean", "last")
    assert [plan[0].edit.keep_norm for plan in map(list, (one, other))] == [True, False]


@pytest.mark.parametrize(("fold", "name"), [(None, "caa"), (1, "caa-1")])
def test_what_was_tuned_is_kept(
    model: Model, items: Items, tmp_path: Path, fold: int | None, name: str
) -> None:
    out, watched = tmp_path / "out", Watched()
    out.mkdir()
    first = tuner(model, watched.task, folder=out).tuned("caa", items, fold)
    plans = ("safetensors", "shuffled.safetensors", "extracted.safetensors")
    ends = ("grid.jsonl", "json", "extracted.json", *plans)
    assert {path.name for path in out.iterdir()} == {f"{name}.{end}" for end in ends}
    assert Plan.load(out / f"{name}.safetensors").hash == first.plan.hash
    measured = len(watched.judges)
    again = tuner(model, watched.task, folder=out).tuned("caa", items, fold)
    assert len(watched.judges) == measured
    assert (again.plan.hash, again.shuffled.hash) == (first.plan.hash, first.shuffled.hash)
    assert again.how == first.how


def test_the_seed_is_told(model: Model, items: Items) -> None:
    found = tuner(model, Watched().task).tuned("caa", items, None)
    assert (found.plan.meta["seed"], found.shuffled.meta["seed"]) == (3, 3)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("Q: What is the sky ? A:", 1),
        ("what  is the\nSKY ?", 1),
        ("What is the sky ? What is the sea ?", 2),
        ("What is the", 0),
        ("What is the skyline ?", 0),
    ],
)
def test_questions_that_a_method_learned_from_are_counted(
    items: Items, prompt: str, count: int
) -> None:
    pairs = [Pair(prompt, "yes", "no"), Pair("Is it ?", "yes", "no")]
    assert overlap(pairs, items) == count
    assert overlap(pairs, [Request(0, "is it ?"), Request(1, "Is it hot ?")]) == 1
    assert overlap([], items) == 0


@pytest.mark.parametrize("kind", ["safetensors", "shuffled.safetensors"])
def test_a_kept_plan_that_is_another_is_refused(
    model: Model, items: Items, tmp_path: Path, kind: str
) -> None:
    made = tuner(model, Watched().task, folder=tmp_path)
    first = made.tuned("caa", items, None)
    first.plan.at(0.77).save(tmp_path / f"caa.{kind}")
    with pytest.raises(RunError, match=rf"caa.{kind} is not what this run made; choose another"):
        made.tuned("caa", items, None)


@pytest.mark.parametrize("name", ["caa.json", "caa.safetensors", "caa.shuffled.safetensors"])
def test_what_was_kept_and_is_damaged(
    model: Model, items: Items, tmp_path: Path, name: str
) -> None:
    made = tuner(model, Watched().task, folder=tmp_path)
    made.tuned("caa", items, None)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(RunError, match=r"caa.json is damaged \(.+\); choose another --out$"):
        made.tuned("caa", items, None)


@pytest.mark.parametrize("name", ["caa.json", "caa.extracted.json"])
def test_a_full_disk_while_the_choice_is_kept(
    model: Model, items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == name:
            raise OSError(28, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr("steer._eval._tune.write_text", full)
    with pytest.raises(RunError, match=f"^cannot write .+/{name}: No space left on device$"):
        tuner(model, Watched().task, folder=tmp_path).tuned("caa", items, None)


@pytest.mark.parametrize(("count", "half"), [(0, 0), (1, 0), (2, 1), (10, 5), (11, 5)])
def test_exactly_half_of_the_labels_are_exchanged(count: int, half: int) -> None:
    pairs = [Pair(f"p{n}", f"good {n}", f"bad {n}") for n in range(count)]
    made = shuffled_labels(pairs, 3)
    swapped = [n for n, (a, b) in enumerate(zip(made, pairs, strict=True)) if a != b]
    assert len(swapped) == half
    for n in swapped:
        assert made[n] == Pair(f"p{n}", f"bad {n}", f"good {n}")
    assert made == shuffled_labels(pairs, 3)


def test_the_seed_decides_whose_labels_are_exchanged() -> None:
    pairs = [Pair("p", "good", "bad")] * 20
    assert len({str(shuffled_labels(pairs, seed)) for seed in range(5)}) == 5
