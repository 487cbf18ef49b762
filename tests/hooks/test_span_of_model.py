"""Texts and images in a span become the token ids of a model."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import families
import tiny
from steer.hooks import (
    GENERATED,
    IMAGE,
    LAST,
    TEXT,
    Model,
    PlanError,
    Tokens,
    add,
    after,
    any_of,
    attach,
    first,
    masked,
    resid_post,
)
from steer.hooks._span_of_model import resolved

WORD = {word: 4 + n for n, word in enumerate(tiny.WORDS)}
TOKENIZER = tiny.tokenizer()


def _config(**names: Any) -> Any:
    return SimpleNamespace(**names)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ({"image_token_id": 9}, [9]),
        ({"image_token_index": 8, "text": 1}, [8]),
        ({"image_token_id": 9, "video_token_id": 4}, [9, 4]),
        ({"image_token_id": 0}, [0]),
        ({"image_token_id": None, "image_token_index": 7}, [7]),
    ],
)
def test_images_are_the_tokens_that_the_configuration_names(
    names: dict[str, Any], ids: list[int]
) -> None:
    assert resolved(IMAGE, _config(**names), None) == any_of(ids)
    assert resolved(TEXT, _config(**names), None) == ~any_of(ids)
    mixed = resolved((IMAGE | LAST) & ~TEXT, _config(**names), None)
    assert mixed == (any_of(ids) | LAST) & ~~any_of(ids)


def test_texts_are_split_by_the_tokenizer() -> None:
    span = resolved(after("sky cat") | ~any_of("red") & first(2), _config(), TOKENIZER)
    assert span == after([WORD["sky"], WORD["cat"]]) | ~any_of(WORD["red"]) & first(2)


def test_no_special_token_is_put_around_a_text() -> None:
    class Chatty:
        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            return {"input_ids": [1, 5, 2] if add_special_tokens else [5]}

    assert resolved(after("x"), _config(), Chatty()) == after(5)


def test_what_needs_no_model_stays() -> None:
    span = (GENERATED & ~after([3, 4])) | masked(torch.ones(1, 2).bool())
    assert resolved(span, _config(), None) == span


@pytest.mark.parametrize(
    ("span", "tokenizer", "message"),
    [
        (IMAGE, TOKENIZER, "^span image: SimpleNamespace names no image token; the span is for"),
        (LAST | TEXT, TOKENIZER, "^span text: SimpleNamespace names no image token"),
        (~after("sky"), None, r'^span after\("sky"\): no tokenizer to split the text; give token'),
        (any_of("  "), TOKENIZER, r'^span any_of\("  "\): the tokenizer makes no token of the'),
    ],
)
def test_what_the_model_cannot_tell_is_refused(span: Any, tokenizer: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        resolved(span, _config(), tokenizer)


def test_attach_refuses_before_it_runs() -> None:
    model = tiny.model()
    plan = add(resid_post(1), tiny.vector(), span="image")
    message = "^span image: LlamaConfig names no image token"
    with pytest.raises(PlanError, match=message), attach(model, plan):
        raise AssertionError("attached")
    assert tiny.hook_count(model.hf) == 0


@pytest.mark.parametrize("family", sorted(families.IMAGES))
def test_a_model_that_reads_images_selects_them_by_hand(family: str) -> None:
    model = Model(families.network(family))
    ids = torch.tensor([[0, 5, families.IMAGES[family], families.IMAGES[family], 6]])
    mask = torch.tensor([[0, 1, 1, 1, 1]])
    tokens = Tokens.of_pass((1, 5), ids.device, 0, mask, None, ids)
    assert model.resolved(IMAGE)(tokens).int().tolist() == [[0, 0, 1, 1, 0]]
    assert model.resolved(TEXT)(tokens).int().tolist() == [[0, 1, 0, 0, 1]]
