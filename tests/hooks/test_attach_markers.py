"""Spans that look at tokens, however the tokens reach the model, against each row alone."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache

import onerow
import tiny
from steer.hooks import DataError, Model, Plan, add, after, any_of, attach, first, resid_post

ROWS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15, 16]]
NEW = 6
OPTIONS = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None}
MODEL = tiny.model()
V = tiny.vector(3)


def _unsteered() -> list[list[int]]:
    return [onerow.greedy(MODEL.hf, row, NEW, []) for row in ROWS]


# What each row writes without a plan; up to a marker in it, it writes the same with one.
WRITTEN = _unsteered()
RULES: dict[str, list[tuple[Any, ...]]] = {
    "in the answer": [("after", new[1]) for new in WRITTEN],
    "two tokens": [("after", *new[:2]) for new in WRITTEN],
    "straddling": [("after", row[-1], new[0]) for row, new in zip(ROWS, WRITTEN, strict=True)],
    "in the prompt": [("after", row[1]) for row in ROWS],
    "any": [("any_of", *new[:3]) for new in WRITTEN],
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def _step(rule: tuple[Any, ...]) -> onerow.Step:
    return onerow.Step("resid_post", 1, "add", V, rule, 4.0)


def _plan(rule: tuple[Any, ...]) -> Plan:
    span = {"after": after, "any_of": any_of}[rule[0]](list(rule[1:]))
    return add(resid_post(1), V, strength=4.0, span=span)


def _expected(rule: list[tuple[Any, ...]]) -> list[list[int]]:
    return [
        onerow.greedy(MODEL.hf, row, NEW, [_step(r)]) for row, r in zip(ROWS, rule, strict=True)
    ]


def _generate(plans: Any, model: Model = MODEL, **options: Any) -> Any:
    batch = model.batch(ROWS)
    del batch["position_ids"]
    with attach(model, plans):
        return model.hf.generate(**batch, **(OPTIONS | options))


@rules
@pytest.mark.parametrize(
    "way",
    [
        {},
        {"use_cache": False},
        {"prefill_chunk_size": 2},
        {"prefill_chunk_size": 4},
        {"cache_implementation": "static"},
        {"cache_implementation": "static", "prefill_chunk_size": 2},
    ],
    ids=str,
)
def test_generation_is_that_of_each_row_alone(
    rule: list[tuple[Any, ...]], way: dict[str, Any]
) -> None:
    expected = _expected(rule)
    got = _generate([_plan(r) for r in rule], **way)[:, -NEW:].tolist()
    assert got == expected
    assert all(a != b for a, b in zip(expected, WRITTEN, strict=True))


@rules
@pytest.mark.parametrize("assisted", [{"prompt_lookup_num_tokens": 2}])
def test_guessed_tokens_are_tokens(rule: list[tuple[Any, ...]], assisted: dict[str, Any]) -> None:
    for r, row, expected in zip(rule, ROWS, _expected(rule), strict=True):
        row_ids = torch.tensor([row])
        with attach(MODEL, _plan(r)):
            out = MODEL.hf.generate(row_ids, **(OPTIONS | assisted))
        assert out[0, -NEW:].tolist() == expected


def _beams(row: list[int], rule: tuple[Any, ...], beams: int) -> list[int]:
    """The best of a beam search, every beam run whole and alone at every token."""
    kept = [(0.0, row)]
    for _ in range(NEW):
        longer = []
        for score, ids in kept:
            log = onerow.logits(MODEL.hf, ids, len(row), [_step(rule)])[-1].log_softmax(-1)
            longer += [(score + float(x), [*ids, t]) for t, x in enumerate(log)]
        kept = sorted(longer, key=lambda beam: -beam[0])[:beams]
    return kept[0][1][len(row) :]


@rules
@pytest.mark.parametrize("way", [{}, {"use_cache": False}], ids=str)
def test_beams_take_their_tokens_along(rule: list[tuple[Any, ...]], way: dict[str, Any]) -> None:
    got = _generate([_plan(r) for r in rule], num_beams=3, **way)[:, -NEW:].tolist()
    assert got == [_beams(row, r, 3) for row, r in zip(ROWS, rule, strict=True)]


@rules
@pytest.mark.parametrize("way", [{}, {"num_beams": 3}], ids=str)
def test_a_prompt_of_embeddings_has_no_tokens_but_the_answer_has(
    rule: list[tuple[Any, ...]], way: dict[str, Any]
) -> None:
    batch = MODEL.batch(ROWS)
    embeds = MODEL.hf.model.embed_tokens(batch["input_ids"]).detach()
    with attach(MODEL, [_plan(r) for r in rule]):
        out = MODEL.hf.generate(
            inputs_embeds=embeds, attention_mask=batch["attention_mask"], **(OPTIONS | way)
        )
    for new, row, r in zip(out.tolist(), ROWS, rule, strict=True):
        assert new[-NEW:] == _embedded(row, r, way.get("num_beams", 1))


def _embedded(row: list[int], rule: tuple[Any, ...], beams: int) -> list[int]:
    kept: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(NEW):
        longer = []
        for score, new in kept:
            states = MODEL.hf.model.embed_tokens(torch.tensor([row + new]))
            seen = [-1] * len(row) + new
            out = onerow.states(MODEL.hf.model, states, len(row), [_step(rule)], seen)[-1]
            log = MODEL.hf.lm_head(out).detach().log_softmax(-1)
            longer += [(score + float(x), [*new, t]) for t, x in enumerate(log)]
        kept = sorted(longer, key=lambda beam: -beam[0])[:beams]
    return kept[0][1]


def _loop(plans: Any, rows: list[list[int]], new: int = NEW) -> list[list[int]]:
    """A decoding loop of a user's own, which tells nothing of its prompts."""
    batch = MODEL.batch(rows)
    mask, ids = batch["attention_mask"], batch["input_ids"]
    places = batch["position_ids"]
    cache, out = DynamicCache(config=MODEL.hf.config), []
    with torch.no_grad(), attach(MODEL, plans):
        for _ in range(new):
            given = {"attention_mask": mask, "position_ids": places, "past_key_values": cache}
            ids = MODEL.hf(ids, **given).logits[:, -1].argmax(-1, keepdim=True)
            out.append(ids)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            places = places[:, -1:] + 1
    whole: list[list[int]] = torch.cat(out, 1).tolist()
    return whole


@rules
def test_a_loop_of_ones_own_needs_to_tell_nothing(rule: list[tuple[Any, ...]]) -> None:
    assert _loop([_plan(r) for r in rule], ROWS) == _expected(rule)


@pytest.mark.parametrize("n", [1, 2])
def test_the_first_tokens_are_the_first_in_a_loop_of_ones_own(n: int) -> None:
    step = onerow.Step("resid_post", 1, "add", V, ("first", n), 4.0)
    expected = [onerow.greedy(MODEL.hf, row, NEW, [step]) for row in ROWS]
    assert (
        _generate(add(resid_post(1), V, strength=4.0, span=first(n)))[:, -NEW:].tolist() == expected
    )
    assert _loop(add(resid_post(1), V, strength=4.0, span=first(n)), ROWS) == expected


def test_a_second_text_in_the_same_block_begins_anew() -> None:
    with torch.no_grad(), attach(MODEL, _plan(("after", 7))):
        MODEL.hf(torch.tensor([[7, 7, 7]]))
        got = MODEL.hf(torch.tensor([[5, 6, 8]])).logits[0]
    torch.testing.assert_close(got, onerow.logits(MODEL.hf, [5, 6, 8], 3, []))


def test_a_cache_that_was_filled_outside_is_missed() -> None:
    cache = DynamicCache(config=MODEL.hf.config)
    with torch.no_grad():
        MODEL.hf(torch.tensor([[5, 7]]), past_key_values=cache)
    message = (
        "^span after: the tokens of this pass are not known; run the whole row, from its first"
    )
    with pytest.raises(DataError, match=message), attach(MODEL, _plan(("after", 7))):
        MODEL.hf(torch.tensor([[5]]), past_key_values=cache)


def test_a_text_is_a_marker_by_way_of_the_tokenizer() -> None:
    plan = add(resid_post(1), V, strength=4.0, span='after("Is Are")')  # tokens 9 and 10
    row = [5, 9, 10, 11]
    with torch.no_grad(), attach(MODEL, plan):
        got = MODEL.hf(torch.tensor([row])).logits[0]
    expected = onerow.logits(MODEL.hf, row, 4, [_step(("after", 9, 10))])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert (got[3] - onerow.logits(MODEL.hf, row, 4, [])[3]).abs().max() > 0.1
