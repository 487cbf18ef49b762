from typing import Any

import pytest
import torch

import quiz
import tiny
from steer._tasks import TASKS, TEMPLATES, Setting, _choosing, _setting, question_of
from steer._tasks._choosing import _shared
from steer.hooks import Model, add, resid_post

QUESTIONS = [question_of(row, n) for n, row in enumerate(quiz.rows())]
ARMS = {"base": None, "steered": add(resid_post(1), tiny.vector(), span="generated")}
MEASURE = TASKS["truthfulqa"].measure


@pytest.mark.parametrize(
    ("head", "prompts", "shared"),
    [
        ([1, 2, 3], [[1, 2, 3, 4], [1, 2, 3, 5]], [1, 2, 3]),
        ([1, 2, 3], [[1, 2, 9, 4], [1, 2, 3, 5]], [1, 2]),
        ([1, 2, 3], [[1, 2, 3], [1, 2, 3, 5]], [1, 2]),  # not the whole of a prompt
        ([1, 2, 3], [[1], [1, 2, 3, 5]], []),
        ([1, 2, 3], [[9, 2, 3, 4]], []),
        ([], [[1, 2]], []),
    ],
)
def test_what_all_prompts_begin_with(
    head: list[int], prompts: list[list[int]], shared: list[int]
) -> None:
    assert _shared(head, prompts) == shared


def test_the_head_of_the_primer_is_run_once_an_arm(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    scorer = _choosing.score_choices

    def spy(*given: Any, primer: Any, **options: Any) -> Any:
        seen.append(primer)
        return scorer(*given, primer=primer, **options)

    monkeypatch.setattr(_choosing, "score_choices", spy)
    setting = Setting(model, "primer")
    for some in (QUESTIONS[:5], QUESTIONS[5:]):
        MEASURE(setting, some, ARMS)
    head = model.token_ids(TEMPLATES["primer"].split("{question}")[0])
    assert [primer.ids for primer in seen] == [head] * 4
    assert seen[0] is seen[2]
    assert seen[1] is seen[3]
    assert seen[0] is not seen[1]


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_results_are_the_same_without_the_primer(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model(family)
    shared = MEASURE(Setting(model, "primer"), QUESTIONS, ARMS)
    monkeypatch.setattr(Setting, "primer", lambda *_: None)
    plain = MEASURE(Setting(model, "primer"), QUESTIONS, ARMS)
    for arm in ARMS:
        for one, other in zip(shared[arm], plain[arm], strict=True):
            assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)
            assert one["mc2"] == pytest.approx(other["mc2"], abs=1e-4)
    assert shared["base"][0]["scores"] != pytest.approx(shared["steered"][0]["scores"], abs=1e-2)


def test_primers_of_many_plans_do_not_pile_up(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_setting, "_KEPT", 2)
    setting = Setting(model, "primer")
    arms = {f"arm {n}": add(resid_post(1), tiny.vector(n)) for n in range(4)}
    found = MEASURE(setting, QUESTIONS[:3], arms)
    assert [key[0] for key in setting._primers] == [arms[f"arm {n}"].hash for n in (2, 3)]
    for name, plan in arms.items():
        assert MEASURE(Setting(model, "primer"), QUESTIONS[:3], {name: plan})[name] == found[name]


def test_arms_do_not_change_one_another(model: Model) -> None:
    both = MEASURE(Setting(model, "primer"), QUESTIONS, ARMS)
    for arm, plan in ARMS.items():
        alone = MEASURE(Setting(model, "primer"), QUESTIONS, {arm: plan})
        assert alone == {arm: both[arm]}
    assert tiny.hook_count(model.hf) == 0


def test_scores_that_are_no_numbers_count_as_wrong(model: Model) -> None:
    broken = 2.0 * add(resid_post(1), torch.full((tiny.D_MODEL,), 3e38))
    setting = Setting(model, "qa")
    for name, wrong in (
        ("truthfulqa", {"mc1": 0.0, "mc2": 0.0}),
        ("truthfulqa-binary", {"correct": 0.0, "margin": -100.0}),
    ):
        items = [TASKS[name].item(row, n) for n, row in enumerate(quiz.rows(3))]
        found = TASKS[name].measure(setting, items, {"broken": broken})["broken"]
        assert found == [wrong] * 3
