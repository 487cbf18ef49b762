from math import isclose
from typing import Any

import pytest

import byhand
import tiny
from steer._tasks import TASKS, Setting
from steer.hooks import DataError

HELLASWAG = TASKS["hellaswag"]
ROW = {"ctx": "the cat is", "endings": ["black and white", "a", "not it", "is old"], "label": 2}


def test_the_original_columns_are_joined_and_cleaned_as_the_harness_does() -> None:
    row = {
        "activity_label": "Baking",
        "ctx_a": "[header] How to bake [title] Begin. [step] Mix  it.",
        "ctx_b": "then Stir",
        "ctx": "not read",
        "endings": [" a [title] b", "[substeps] c", "d", "e"],
        "label": "3",
    }
    item = HELLASWAG.item(row, 4)
    # capitalize() puts all but the first letter in lower case.
    assert item.context == "Baking: How to bake. Begin. Mix it. Then stir"
    assert list(item.endings) == ["a. b", " c", "d", "e"]
    assert (item.id, item.label) == (4, 3)


def test_a_joined_context() -> None:
    item = HELLASWAG.item(ROW, 0)
    assert item.shown == {"context": "the cat is", "endings": ROW["endings"], "label": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 4}, "^row 9: label 4 names none of 4 endings"),
        ({"label": -1}, "^row 9: label -1 names none of 4 endings"),
        ({"label": ""}, "^row 9: expected ctx, endings and label"),
        ({"label": None}, "^row 9: expected ctx, endings and label"),
        ({"endings": ["a"], "label": 0}, "^row 9: label 0 names none of 1 endings"),
        ({"endings": ["a", "[step]"]}, "^row 9: an ending is empty, or nothing but a tag"),
        ({"endings": 3}, "^row 9: expected ctx, endings and label"),
        ({"ctx": ""}, "^row 9: ctx must be a non-empty text"),
    ],
)
def test_rows_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        HELLASWAG.item(ROW | change, 9)


@pytest.mark.parametrize("column", ["ctx", "endings", "label"])
def test_a_missing_column_is_named(column: str) -> None:
    row = {name: value for name, value in ROW.items() if name != column}
    with pytest.raises(DataError, match=f"^row 9: .*{column}"):
        HELLASWAG.item(row, 9)


def test_the_likeliest_ending_and_the_likeliest_per_character() -> None:
    model = tiny.model()
    items = [HELLASWAG.item(ROW | {"label": label}, label) for label in range(4)]
    found = HELLASWAG.measure(Setting(model, "plain"), items, {"base": None})["base"]
    prompt = model.tokenizer("the cat is")["input_ids"]
    ids = [model.tokenizer(ending)["input_ids"] for ending in ROW["endings"]]
    scores = [byhand.score(model.hf, prompt, one) for one in ids]
    each = [score / n for score, n in zip(scores, (15, 1, 6, 6), strict=True)]
    best, best_each = scores.index(max(scores)), each.index(max(each))
    assert best != best_each  # the two metrics differ on this item
    for label, result in enumerate(found):
        assert all(map(lambda a, b: isclose(a, b, abs_tol=1e-4), result["scores"], scores))
        assert result["acc"] == float(label == best)
        assert result["acc_norm"] == float(label == best_each)
