from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer._tasks import TASKS, Result
from steer.hooks import DataError

POPE, MMHAL = TASKS["pope"], TASKS["mmhal"]
DOG = {"question": "Is there a dog?", "label": "Yes", "image": "a.png", "category": "random"}
SCENE = {
    "question": "What is it?",
    "image": "a.png",
    "absent": ["dog", "bus", "baby", "hot dog", "toy"],
}


def test_an_item_of_pope() -> None:
    item = POPE.item(DOG, 2)
    assert (item.id, item.image) == (2, Path("a.png"))
    assert item.prompt == "Is there a dog?\nAnswer with yes or no."
    assert item.about == {"label": "yes", "category": "random"}
    other = POPE.item({"text": "q", "answer": "no", "image_path": "b.png"}, 0)
    assert (other.image, other.about) == (Path("b.png"), {"label": "no"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "maybe"}, "^row 5: the label must be yes or no, got 'maybe'"),
        ({"label": 1}, "^row 5: label must be a non-empty text, got 1"),
        ({"question": ""}, "^row 5: question must be a non-empty text"),
        ({"image": None}, "^row 5: image must be a non-empty text"),
    ],
)
def test_rows_that_pope_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        POPE.item(DOG | change, 5)


@pytest.mark.parametrize("column", ["label", "question", "image"])
def test_a_missing_column_is_named(column: str) -> None:
    row = {name: value for name, value in DOG.items() if name != column}
    with pytest.raises(DataError, match=f"^row 5: no column {column} or "):
        POPE.item(row, 5)


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("Yes", True),
        ("yes, there is a dog. It is not big.", True),
        ("No", False),
        ("no.", False),
        ("There is not a dog", False),
        ("There isn't a dog", False),
        ("There isn\u2019t a dog", False),
        ("I know of nothing", True),  # neither "know" nor "nothing" is a no
        ("", True),
    ],
)
def test_what_pope_takes_for_yes(
    answer: str, yes: bool, scored: Callable[..., list[Result]]
) -> None:
    (found,) = scored(POPE, [DOG], [answer])
    assert found["yes_ratio"] == float(yes)
    assert found["degenerate"] == float(answer == "")


def test_the_weighted_mean_of_hits_is_the_f1_of_yes(scored: Callable[..., list[Result]]) -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.random(60) < 0.4, rng.random(60) < 0.6
    rows = [DOG | {"label": "yes" if present else "no"} for present in truth]
    found = scored(POPE, rows, ["Yes" if yes else "No" for yes in said])
    metric = next(m for m in POPE.metrics if m.name == "f1")
    value = np.array([result[metric.value] for result in found])
    weight = np.array([result[metric.weight] for result in found])
    hits = (truth & said).sum()
    precision, recall = hits / said.sum(), hits / truth.sum()
    assert precision != recall
    f1 = 2 * precision * recall / (precision + recall)
    assert (value * weight).sum() / weight.sum() == pytest.approx(f1)
    assert np.mean([result["accuracy"] for result in found]) == (truth == said).mean()


@pytest.mark.parametrize(
    ("label", "answer", "expected"),
    [
        ("yes", "Yes", (1.0, 1.0, None, 1.0, 1.0, 2.0)),
        ("yes", "No", (0.0, 0.0, None, 0.0, 0.0, 1.0)),
        ("no", "Yes", (0.0, 1.0, 1.0, None, 0.0, 1.0)),
        ("no", "No", (1.0, 0.0, 0.0, None, 0.0, 0.0)),
    ],
)
def test_pope_by_hand(
    label: str, answer: str, expected: tuple[Any, ...], scored: Callable[..., list[Result]]
) -> None:
    (found,) = scored(POPE, [DOG | {"label": label}], [answer])
    names = ("accuracy", "yes_ratio", "invented", "recall", "hit", "weight")
    assert tuple(found[name] for name in names) == expected


def test_an_item_of_mmhal() -> None:
    item = MMHAL.item(SCENE | {"gt_answer": "a cat", "image_content": ["cat"], "x": 1}, 1)
    about = {"image_content": ["cat"], "gt_answer": "a cat", "absent": SCENE["absent"]}
    assert (item.prompt, item.image, item.about) == ("What is it?", Path("a.png"), about)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"absent": "dog"}, "^row 4: absent must be a list of names, got 'dog'"),
        ({"absent": ["dog", ""]}, "^row 4: absent must be a list of names"),
        ({"absent": [3]}, "^row 4: absent must be a list of names"),
        ({"image_content": "cat"}, "^row 4: image_content must be a list of names"),
        ({"absent": None}, "^row 4: expected gt_answer .* or absent"),
        ({"question": ""}, "^row 4: question must be"),
    ],
)
def test_rows_that_mmhal_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        MMHAL.item(SCENE | change, 4)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("A Dog sleeps.", ["dog"]),
        ("Two dogs, three buses and babies!", ["dog", "bus", "baby"]),
        ("A dogma, a doghouse, a hotdog and the business of babysitting", []),
        ("Toys, but no toyshop", ["toy"]),
        ("There are hot dogs", ["dog", "hot dog"]),
        ("There is no dog", ["dog"]),
        ("The dog's bowl", ["dog"]),
        ("A cat", []),
        ("", []),
    ],
)
def test_absent_things_that_an_answer_names(
    answer: str, names: list[str], scored: Callable[..., list[Result]]
) -> None:
    (found,) = scored(MMHAL, [SCENE], [answer])
    assert found["invented_names"] == names
    assert found["invented"] == float(bool(names))


def test_names_that_end_in_no_letter(scored: Callable[..., list[Result]]) -> None:
    (found,) = scored(MMHAL, [SCENE | {"absent": ["T.V.", "c++"]}], ["A t.v. and C++"])
    assert found["invented_names"] == ["T.V.", "c++"]


def test_without_a_list_only_the_judge_says(scored: Callable[..., list[Result]]) -> None:
    row = {
        "question": "q?",
        "image": "a.png",
        "gt_answer": "a cat",
        "image_content": ["cat", "mat"],
    }
    seen = []

    def judge(exchanges: Any) -> list[float | None]:
        seen.extend(exchanges)
        return [0.9]

    (found,) = scored(MMHAL, [row], ["A dog"], judges={"some": judge})
    assert (found["invented"], found["judged_invented"]) == (None, 1.0)
    assert seen == [("q?\nThe picture shows: cat, mat.\nA right answer: a cat", "A dog")]
