"""What `generate` tells is for its own passes; any other pass is placed as it is alone."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.generation.streamers import BaseStreamer

import families
import onerow
import parts
import tiny
from steer.hooks import (
    DataError,
    Model,
    Plan,
    add,
    after,
    attach,
    first,
    prompts,
    resid_post,
)

MODEL, OTHER = tiny.model(), tiny.model(seed=1)
V = tiny.vector(3)
NEW = 5
GREEDY = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
RULES: dict[str, onerow.Rule] = {
    "prompt": "prompt",
    "generated": "generated",
    "last": "last",
    "first(1)": ("first", 1),
    "first(2)": ("first", 2),
    "after(7)": ("after", 7),
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def _step(rule: onerow.Rule) -> onerow.Step:
    return onerow.Step("resid_post", 1, "add", V, rule, 3.0)


def _span(rule: onerow.Rule) -> Any:
    if isinstance(rule, str):
        return rule
    name, token = rule
    return first(token) if name == "first" else after(token)


def _plan(rule: onerow.Rule) -> Plan:
    return add(resid_post(1), V, strength=3.0, span=_span(rule))


def _alone(model: Model, row: Sequence[int], prompt: int, rule: onerow.Rule | None) -> Tensor:
    """`[tokens, vocab]` of one row by index."""
    return onerow.logits(model.hf, row, prompt, [] if rule is None else [_step(rule)])


def _close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


# Guidance.

ROW = [5, 6, 7, 8, 9]
SHORTER, AS_LONG, LONGER = [7, 11], [11, 7, 12, 13, 14], [11, 12, 7, 13, 14, 15, 16, 17]
negatives = pytest.mark.parametrize(
    "negative", [None, SHORTER, AS_LONG, LONGER], ids=["none", "shorter", "as long", "longer"]
)


def _guided(
    row: list[int],
    negative: list[int] | None,
    with_prompt: onerow.Rule | None,
    without: onerow.Rule | None,
) -> tuple[list[int], Tensor]:
    """The new tokens and their scores: two whole uncached rows a token, each counted by itself."""
    other = row[-1:] if negative is None else list(negative)
    ids, begins, scores = list(row), len(other), []
    for _ in range(NEW):
        yes = _alone(MODEL, ids, len(row), with_prompt)[-1].log_softmax(-1)
        no = _alone(MODEL, other, begins, without)[-1].log_softmax(-1)
        scores.append(no + 2.0 * (yes - no))
        token = int(scores[-1].argmax())
        ids, other = [*ids, token], [*other, token]
    return ids[len(row) :], torch.stack(scores)


def _guide(plan: Plan | None, rows: list[list[int]], **options: Any) -> tuple[Any, Tensor]:
    asked = {"guidance_scale": 2.0, "return_dict_in_generate": True, "output_scores": True}
    batch = MODEL.batch(rows)
    del batch["position_ids"]
    with attach(MODEL, plan):
        out = MODEL.hf.generate(**batch, **(GREEDY | asked | options))
    return out.sequences[:, -NEW:].tolist(), torch.stack(out.scores, 1)


@rules
@negatives
def test_both_passes_of_guidance_are_steered_by_their_own_places(
    rule: onerow.Rule, negative: list[int] | None
) -> None:
    given = {} if negative is None else {"negative_prompt_ids": torch.tensor([negative])}
    tokens, scores = _guide(_plan(rule), [ROW], **given)
    expected, by_hand = _guided(ROW, negative, rule, rule)
    assert tokens == [expected]
    _close(scores[0], by_hand)


@rules
def test_the_unconditional_pass_matters(rule: onerow.Rule) -> None:
    both, one = _guided(ROW, LONGER, rule, rule)[1], _guided(ROW, LONGER, rule, None)[1]
    assert (both - one)[0 if rule in ("prompt", "last", ("after", 7)) else 1].abs().max() > 0.1


@rules
def test_guidance_of_padded_rows_is_that_of_each_alone(rule: onerow.Rule) -> None:
    rows, others = [ROW, [10, 7, 12]], [[7, 11], LONGER]
    batch = MODEL.batch(others)
    tokens, _ = _guide(
        _plan(rule),
        rows,
        negative_prompt_ids=batch["input_ids"],
        negative_prompt_attention_mask=batch["attention_mask"],
    )
    # The unconditional pass gives no position ids, so padding shifts its rotary places alike.
    assert tokens == [_guided(r, o, rule, rule)[0] for r, o in zip(rows, others, strict=True)]


def test_uncached_guidance_looks_at_the_tokens_of_each_row() -> None:
    rule = ("after", 7)
    given = {"negative_prompt_ids": torch.tensor([LONGER])}
    tokens, scores = _guide(_plan(rule), [ROW], use_cache=False, **given)
    expected, by_hand = _guided(ROW, LONGER, rule, rule)
    assert tokens == [expected]
    _close(scores[0], by_hand)


@pytest.mark.parametrize("rule", ["prompt", "generated", "last", ("first", 2)], ids=str)
def test_the_first_token_of_uncached_guidance_is_as_by_hand(rule: onerow.Rule) -> None:
    # From the second on, nothing says where the prompt in that whole row ended.
    given = {"negative_prompt_ids": torch.tensor([LONGER])}
    _, scores = _guide(_plan(rule), [ROW], use_cache=False, **given)
    _close(scores[0, 0], _guided(ROW, LONGER, rule, rule)[1][0])


# A pass over some other text while `generate` runs.

TEXTS = [[30, 7, 31, 32, 33, 34], [35, 36, 7, 37, 38, 39]]
SHORT = [[30, 7], [7, 36]]
PROMPTS = [[5, 6, 7, 8], [9, 10, 7, 12]]
Processor = Callable[[Tensor, Tensor], Tensor]


def _looking(model: Model, texts: list[list[int]], seen: list[Tensor]) -> Processor:
    def look(_: Tensor, scores: Tensor) -> Tensor:
        seen.append(model.hf(torch.tensor(texts)).logits)
        return scores

    return look


@rules
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("texts", [TEXTS, SHORT, PROMPTS], ids=["longer", "shorter", "the prompts"])
@pytest.mark.parametrize("other", [MODEL, OTHER], ids=["same model", "other model"])
def test_a_logits_processor_may_run_some_other_text(
    rule: onerow.Rule, rows: int, texts: list[list[int]], other: Model
) -> None:
    seen: list[Tensor] = []
    with ExitStack() as stack:
        stack.enter_context(attach(MODEL, _plan(rule)))
        if other is not MODEL:
            stack.enter_context(attach(other, _plan(rule)))
        out = MODEL.hf.generate(
            torch.tensor(PROMPTS[:rows]),
            logits_processor=[_looking(other, texts, seen)],
            **GREEDY,
        )
    by_hand = [onerow.greedy(MODEL.hf, row, NEW, [_step(rule)]) for row in PROMPTS[:rows]]
    assert out[:, -NEW:].tolist() == by_hand
    expected = torch.stack([_alone(other, row, len(row), rule) for row in texts])
    assert len(seen) == NEW
    for logits in seen:
        _close(logits, expected)


@rules
@pytest.mark.parametrize("rows", [1, 2])
def test_a_processor_with_another_batch_is_no_row_of_generate(rule: onerow.Rule, rows: int) -> None:
    seen: list[Tensor] = []
    with attach(MODEL, _plan(rule)):
        out = MODEL.hf.generate(
            torch.tensor(PROMPTS[:rows]),
            logits_processor=[_looking(MODEL, [*TEXTS, TEXTS[0]][rows - 1 :], seen)],
            **GREEDY,
        )
    by_hand = [onerow.greedy(MODEL.hf, row, NEW, [_step(rule)]) for row in PROMPTS[:rows]]
    assert out[:, -NEW:].tolist() == by_hand
    _close(seen[-1][-1], _alone(MODEL, TEXTS[0], 6, rule))


@rules
@pytest.mark.parametrize("way", [{"use_cache": False}, {"prefill_chunk_size": 2}], ids=str)
def test_a_stopping_rule_may_run_some_other_text(rule: onerow.Rule, way: dict[str, Any]) -> None:
    seen: list[Tensor] = []
    look = _looking(MODEL, TEXTS[:1], seen)

    def go_on(ids: Tensor, scores: Any) -> Tensor:
        look(ids, ids)
        return torch.zeros(ids.shape[0], dtype=torch.bool)

    with attach(MODEL, _plan(rule)):
        out = MODEL.hf.generate(torch.tensor(PROMPTS), stopping_criteria=[go_on], **(GREEDY | way))
    assert out[:, -NEW:].tolist() == [
        onerow.greedy(MODEL.hf, row, NEW, [_step(rule)]) for row in PROMPTS
    ]
    _close(seen[-1][0], _alone(MODEL, TEXTS[0], 6, rule))


@rules
def test_a_processor_may_decode_with_a_cache_of_its_own(rule: onerow.Rule) -> None:
    cache, fed, seen = DynamicCache(config=MODEL.hf.config), list(TEXTS[0]), list[Tensor]()

    def look(_: Tensor, scores: Tensor) -> Tensor:
        here = fed if not seen else fed[-1:]
        seen.append(MODEL.hf(torch.tensor([here]), past_key_values=cache).logits[0])
        fed.append(20 + len(seen))
        return scores

    with attach(MODEL, _plan(rule)):
        out = MODEL.hf.generate(torch.tensor(PROMPTS[:1]), logits_processor=[look], **GREEDY)
    assert out[0, -NEW:].tolist() == onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [_step(rule)])
    _close(torch.cat(seen), _alone(MODEL, fed[:-1], 6, rule))


def test_a_processor_may_say_where_its_own_prompts_end() -> None:
    seen: list[Tensor] = []
    look = _looking(MODEL, TEXTS[:1], seen)

    def told(ids: Tensor, scores: Tensor) -> Tensor:
        with prompts([2]):
            return look(ids, scores)

    with attach(MODEL, _plan("generated")):
        out = MODEL.hf.generate(torch.tensor(PROMPTS[:1]), logits_processor=[told], **GREEDY)
    assert out[0, -NEW:].tolist() == onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [_step("generated")])
    _close(seen[-1][0], _alone(MODEL, TEXTS[0], 2, "generated"))


# Caches that take turns in a loop of one's own.

FED = {"a": [[5, 6, 7], [20], [7], [21], [22]], "b": [[7, 8, 9, 10, 11, 12, 13], [23], [24], [25]]}
TURNS = {
    "one by one": "abababab" + "a",
    "in blocks": "aabbbaaab",
    "after each other": "aaaaabbbb",
}
turns = pytest.mark.parametrize("order", TURNS.values(), ids=TURNS)


def _expected(name: str, rule: onerow.Rule) -> Tensor:
    row = [token for piece in FED[name] for token in piece]
    return _alone(MODEL, row, len(FED[name][0]), rule)


def _pass(ids: list[int], cache: Any) -> tuple[Tensor, Any]:
    out = MODEL.hf(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    return out.logits[0], out.past_key_values


@rules
@turns
@pytest.mark.parametrize("made", ["given", "by the model"])
@pytest.mark.parametrize("scoring", [False, True])
@torch.no_grad()
def test_caches_that_take_turns_are_as_each_alone(
    rule: onerow.Rule, order: str, made: str, scoring: bool
) -> None:
    caches: dict[str, Any] = {
        name: DynamicCache(config=MODEL.hf.config) if made == "given" else None for name in FED
    }
    left = {name: list(fed) for name, fed in FED.items()}
    got: dict[str, list[Tensor]] = {name: [] for name in FED}
    expected = _alone(MODEL, TEXTS[0], 6, rule)
    with attach(MODEL, _plan(rule)):
        for name in order:
            logits, caches[name] = _pass(left[name].pop(0), caches[name])
            got[name].append(logits)
            if scoring:
                scored = MODEL.hf(torch.tensor(TEXTS), use_cache=False).logits
                _close(scored[0], expected)
    for name in FED:
        _close(torch.cat(got[name]), _expected(name, rule))


@rules
@torch.no_grad()
def test_a_generate_in_between_leaves_a_cache_as_it_was(rule: onerow.Rule) -> None:
    cache, got = DynamicCache(config=MODEL.hf.config), []
    by_hand = onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [_step(rule)])
    with attach(MODEL, _plan(rule)):
        for piece in FED["a"]:
            got.append(_pass(piece, cache)[0])
            out = MODEL.hf.generate(torch.tensor(PROMPTS), **GREEDY)
            assert out[0, -NEW:].tolist() == by_hand
    _close(torch.cat(got), _expected("a", rule))


@rules
@torch.no_grad()
def test_a_cache_that_is_emptied_begins_anew(rule: onerow.Rule) -> None:
    cache, got = DynamicCache(config=MODEL.hf.config), []
    with attach(MODEL, _plan(rule)):
        for piece in FED["b"]:
            _pass(piece, cache)
        cache.reset()
        for piece in FED["a"]:
            got.append(_pass(piece, cache)[0])
    _close(torch.cat(got), _expected("a", rule))


@rules
@torch.no_grad()
def test_a_cache_that_is_cut_back_goes_on_from_there(rule: onerow.Rule) -> None:
    cache, taken_back = DynamicCache(config=MODEL.hf.config), [7, 30, 31]
    with attach(MODEL, _plan(rule)):
        got = [_pass(piece, cache)[0] for piece in FED["a"][:2]]
        _pass(taken_back, cache)
        cache.crop(-len(taken_back))
        got += [_pass(piece, cache)[0] for piece in FED["a"][2:]]
    _close(torch.cat(got), _expected("a", rule))


@pytest.mark.parametrize("rule", ["prompt", "generated", "last", ("first", 2)], ids=str)
@torch.no_grad()
def test_a_copied_cache_goes_on_after_its_prompt(rule: onerow.Rule) -> None:
    begun = DynamicCache(config=MODEL.hf.config)
    with attach(MODEL, _plan(rule)):
        got = [_pass(FED["a"][0], begun)[0]]
        cache: Cache = deepcopy(begun)
        got += [_pass(piece, cache)[0] for piece in FED["a"][1:]]
    _close(torch.cat(got), _expected("a", rule))


@torch.no_grad()
def test_a_cache_filled_before_the_block_is_all_prompt() -> None:
    cache, rule = DynamicCache(config=MODEL.hf.config), ("first", 2)
    _pass(FED["a"][0], cache)
    with attach(MODEL, _plan(rule)):
        got = [_pass(piece, cache)[0] for piece in FED["a"][1:]]
    _close(torch.cat(got), _expected("a", rule)[3:])


# Images.


def _llava() -> tuple[Model, dict[str, Tensor], Tensor]:
    """A model, a batch with an image and text of the same length; both have a token 7."""
    inputs = families.image_inputs("llava", [[5, 6, 7]])
    return parts.model("llava"), inputs, torch.arange(5, 12).unsqueeze(0)


@pytest.fixture
def image_plan() -> Plan:
    return add(resid_post(1), V, strength=3.0, span="image")


@torch.no_grad()
def test_an_image_is_edited_where_it_is(image_plan: Plan) -> None:
    model, inputs, _ = _llava()
    layer = parts.part(model.hf, "llava", "resid_post", 1)
    assert layer is not None
    chosen = torch.tensor([[False, True, True, True, True, False, False]])
    with parts.changing(layer, parts.adding(3.0 * V, chosen)):
        expected = model.hf(**inputs).logits
    with attach(model, image_plan):
        _close(model.hf(**inputs).logits, expected)
        _close(model.hf.lm_head(model.hf.model(**inputs).last_hidden_state), expected)


@torch.no_grad()
def test_text_given_to_an_inner_module_has_no_stale_image(image_plan: Plan) -> None:
    model, inputs, text = _llava()
    plain = model.hf.model(text).last_hidden_state
    with attach(model, image_plan):
        model.hf(**inputs)
        for inner in (model.hf.model, model.hf.model.language_model):
            _close(inner(text).last_hidden_state, plain)
            _close(inner(input_ids=text).last_hidden_state, plain)


@torch.no_grad()
def test_embeddings_given_to_an_inner_module_have_no_tokens(image_plan: Plan) -> None:
    model, inputs, text = _llava()
    embeds = model.hf.model.language_model.embed_tokens(text)
    message = "^span any_of: the tokens of this pass are not known"
    for inner in (model.hf, model.hf.model, model.hf.model.language_model):
        for begun in (False, True):
            with attach(model, image_plan):
                if begun:
                    model.hf(**inputs)
                with pytest.raises(DataError, match=message):
                    inner(inputs_embeds=embeds)


@torch.no_grad()
def test_a_call_that_failed_leaves_no_tokens_behind(image_plan: Plan) -> None:
    model, inputs, text = _llava()
    embeds = model.hf.model.language_model.embed_tokens(text)
    with attach(model, image_plan):
        with pytest.raises((ValueError, RuntimeError)):
            model.hf(input_ids=inputs["input_ids"], pixel_values=torch.zeros(2, 3, 8, 8))
        with pytest.raises(DataError, match="tokens of this pass are not known"):
            model.hf.model.language_model(inputs_embeds=embeds)


# Blocks in blocks, and `generate` in `generate`.

OUTER, INNER = tiny.vector(5), tiny.vector(6)


@rules
@pytest.mark.parametrize("way", [{}, {"use_cache": False}], ids=str)
def test_both_of_two_blocks_hear_what_generate_tells(
    rule: onerow.Rule, way: dict[str, Any]
) -> None:
    steps = [
        onerow.Step("resid_post", 1, "add", OUTER, rule, 2.0),
        onerow.Step("resid_post", 2, "add", INNER, ("first", 1), 2.0),
    ]
    by_hand = [onerow.greedy(MODEL.hf, row, NEW, steps) for row in PROMPTS]
    seen: list[Tensor] = []
    look = _looking(MODEL, TEXTS[:1], seen)
    with (
        attach(MODEL, add(resid_post(1), OUTER, strength=2.0, span=_span(rule))),
        attach(MODEL, add(resid_post(2), INNER, strength=2.0, span=first(1))),
    ):
        for _ in range(2):
            out = MODEL.hf.generate(
                torch.tensor(PROMPTS), logits_processor=[look], **(GREEDY | way)
            )
            assert out[:, -NEW:].tolist() == by_hand
    _close(seen[-1][0], onerow.logits(MODEL.hf, TEXTS[0], 6, steps))


@rules
def test_a_second_generate_is_the_first_again(rule: onerow.Rule) -> None:
    rows = [[5, 6, 7, 8], [9, 7], [5, 6, 7, 8], [11, 12, 13, 7, 14, 15]]
    with attach(MODEL, _plan(rule)):
        got = [MODEL.hf.generate(torch.tensor([row]), **GREEDY)[0, -NEW:] for row in rows]
    for new, row in zip(got, rows, strict=True):
        assert new.tolist() == onerow.greedy(MODEL.hf, row, NEW, [_step(rule)])


class _Generating(BaseStreamer):
    """Generates from some other text whenever it is given tokens."""

    def __init__(self, row: list[int]) -> None:
        self.row, self.written = row, list[list[int]]()

    def put(self, value: Tensor) -> None:
        out = MODEL.hf.generate(torch.tensor([self.row]), **GREEDY)
        self.written.append(out[0, len(self.row) :].tolist())

    def end(self) -> None:
        self.put(torch.empty(0))


@rules
@pytest.mark.parametrize("way", [{}, {"use_cache": False}, {"prefill_chunk_size": 2}], ids=str)
def test_a_streamer_may_generate(rule: onerow.Rule, way: dict[str, Any]) -> None:
    streamer = _Generating([13, 7])
    with attach(MODEL, _plan(rule)):
        out = MODEL.hf.generate(torch.tensor(PROMPTS[:1]), streamer=streamer, **(GREEDY | way))
    assert out[0, -NEW:].tolist() == onerow.greedy(MODEL.hf, PROMPTS[0], NEW, [_step(rule)])
    inner = onerow.greedy(MODEL.hf, [13, 7], NEW, [_step(rule)])
    assert streamer.written == [inner] * (NEW + 2)


def test_a_generate_that_failed_tells_nothing_afterwards() -> None:
    def fail(_: Tensor, __: Tensor) -> Tensor:
        raise KeyError("stop")

    with attach(MODEL, _plan("prompt")):
        with pytest.raises(KeyError, match="stop"):
            MODEL.hf.generate(torch.tensor([[5, 6]]), logits_processor=[fail], **GREEDY)
        with torch.no_grad():
            got = MODEL.hf(torch.tensor(TEXTS[:1])).logits[0]
    _close(got, _alone(MODEL, TEXTS[0], 6, "prompt"))
