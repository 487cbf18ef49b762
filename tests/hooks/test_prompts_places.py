"""`prompts(ids=, places=)`: rows that are trees, and caches that were filled elsewhere."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import (
    DataError,
    Model,
    Plan,
    Span,
    add,
    after,
    any_of,
    attach,
    capture,
    first,
    positions,
    prompts,
    resid_post,
)

V = tiny.vector()
# Two prompts of three and two tokens, each with continuations; the rows are padded on the right.
#   5 6 7 - 8 - 9         9 10 - 5 - 6 - 7
#       |   ` 10               ` 11
#       ` 11 - 8
TREES = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 8], [9, 10, 5, 6, 7, 11, 0, 0]])
PLACES = torch.tensor([[0, 1, 2, 3, 4, 4, 3, 4], [0, 1, 2, 3, 4, 2, 0, 0]])
# Each text: its row, its nodes in that row, and how many tokens of it are the prompt.
TEXTS = [
    (0, [0, 1, 2, 3, 4], 3),
    (0, [0, 1, 2, 3, 5], 3),
    (0, [0, 1, 2, 6, 7], 3),
    (1, [0, 1, 2, 3, 4], 2),
    (1, [0, 1, 5], 2),
]
SPANS: dict[str | Span, onerow.Rule] = {
    "all": "all",
    "prompt": "prompt",
    "generated": "generated",
    "last": "last",
    first(1): ("first", 1),
    positions(2, 4): ("positions", 2, 4),
    positions(-1): ("positions", -1, None),
    positions(None, -1): ("positions", None, -1),
    any_of([8, 10]): ("any_of", 8, 10),
    ~first(1) & any_of([8, 10]): ("and", ("not", ("first", 1)), ("any_of", 8, 10)),
}


def _mask(allowed: Any = torch.float32) -> Tensor:
    sees = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    for row, nodes, _ in TEXTS:
        for n, node in enumerate(nodes):
            sees[row, 0, node, nodes[: n + 1]] = True
    sees[1, 0, 6:, 0] = True  # padding has to see something
    if allowed == torch.bool:
        return sees
    return torch.zeros(sees.shape, dtype=allowed).masked_fill_(~sees, torch.finfo(allowed).min)


def _run(model: Model, mask: Tensor, places: Tensor = PLACES) -> tuple[Tensor, Tensor]:
    """What leaves the second layer and the last, `[2, 8, d_model]`."""
    given = {"input_ids": TREES, "attention_mask": mask, "position_ids": PLACES}
    with prompts([3, 2], places=places):
        got = capture(model, given, [resid_post(1), resid_post(3)])
    return got[resid_post(1)], got[resid_post(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
@pytest.mark.parametrize("span", list(SPANS), ids=str)
def test_a_tree_is_steered_as_its_texts_are(model: Model, span: str | Span, dtype: Any) -> None:
    base, _ = _run(model, _mask(dtype))
    with attach(model, add(resid_post(1), V, span=span)):
        steered, final = _run(model, _mask(dtype))
    expected = torch.zeros(2, 8, dtype=torch.bool)
    for row, nodes, prompt in TEXTS:
        text = TREES[row, nodes].tolist()
        chosen = onerow.chosen(SPANS[span], prompt, text)
        expected[row, [nodes[i] for i in chosen]] = True
        step = onerow.Step("resid_post", 1, "add", V, SPANS[span], 1.0)
        embedded = model.anatomy.embedding(torch.tensor([text]))
        alone = onerow.states(model.anatomy.decoder, embedded, prompt, [step], text)
        torch.testing.assert_close(model.anatomy.norm(final[row, nodes]), alone)
    assert torch.equal((steered != base).any(-1), expected)
    torch.testing.assert_close(steered, base + V * expected.unsqueeze(-1))


def test_without_places_a_token_stands_where_it_is_in_the_row(model: Model) -> None:
    given = {"input_ids": TREES, "attention_mask": _mask(), "position_ids": PLACES}
    base, _ = _run(model, _mask())
    with attach(model, add(resid_post(1), V, span=first(2))), prompts([3, 2]):
        steered = capture(model, given, [resid_post(1)])[resid_post(1)]
    moved = [row.nonzero().flatten().tolist() for row in (steered != base).any(-1)]
    assert moved == [[3, 4], [2, 3]]


WRONG = [torch.zeros(1, 8), torch.zeros(2, 7), torch.zeros(2, 9), torch.zeros(4, 8)]


@pytest.mark.parametrize("places", WRONG, ids=lambda places: str(tuple(places.shape)))
def test_places_that_are_not_one_a_token_are_refused(model: Model, places: Tensor) -> None:
    shape = re.escape(str(tuple(places.shape)))
    message = rf"^prompts: places for {shape} tokens, but the pass has \(2, 8\); give one"
    with attach(model, add(resid_post(1), V, span="last")):
        with onerow.unchecked(), pytest.raises(DataError, match=message):
            _run(model, _mask(), places.long())
        _run(model, _mask())  # nothing of it stays behind


@pytest.mark.parametrize("name", ["ids", "places"])
@pytest.mark.parametrize("shape", [(8,), (2, 1, 8), ()])
def test_no_table_is_refused(name: str, shape: tuple[int, ...]) -> None:
    table: Any = {name: torch.zeros(shape, dtype=torch.long)}
    message = rf"^prompts: expected {name} of two axes, got \("
    with onerow.unchecked(), pytest.raises(DataError, match=message), prompts([3], **table):
        raise AssertionError("entered")


# 5 8 6 are in the cache before 7 9 10, and 5 8 11 before 6 7 10.
WHOLE = torch.tensor([[5, 8, 6, 7, 9, 10], [5, 8, 11, 6, 7, 10]])
LOOKING: dict[Span, list[list[int]]] = {
    after([6, 7]): [[1, 2], [2]],  # in the first row the text lies across the two passes
    any_of([7, 9]): [[0, 1], [1]],
    after(8) & any_of(9): [[1], []],
}


@torch.no_grad()
def _later(model: Model, ids: Tensor | None, span: Span) -> list[list[int]]:
    """Which of three tokens are edited after a cache of three that no plan has seen."""

    def states(plan: Plan | None) -> Tensor:
        cache = model.hf(WHOLE[:, :3], use_cache=True).past_key_values
        with attach(model, plan), prompts([4], ids):
            out = model.hf(WHOLE[:, 3:], past_key_values=cache, output_hidden_states=True)
        found: Tensor = out.hidden_states[2]
        return found

    moved = (states(add(resid_post(1), V, span=span)) != states(None)).any(-1)
    return [row.nonzero().flatten().tolist() for row in moved]


@pytest.mark.parametrize("span", list(LOOKING), ids=str)
def test_ids_tell_what_a_cache_from_elsewhere_holds(model: Model, span: Span) -> None:
    assert _later(model, WHOLE, span) == LOOKING[span]


@pytest.mark.parametrize("ids", [None, WHOLE[:, :5], WHOLE[:, 3:]], ids=["none", "head", "tail"])
def test_ids_that_do_not_reach_from_first_to_last_tell_nothing(
    model: Model, ids: Tensor | None
) -> None:
    with pytest.raises(DataError, match="the tokens of this pass are not known"):
        _later(model, ids, after([6, 7]))
