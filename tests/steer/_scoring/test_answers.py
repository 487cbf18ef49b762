from collections.abc import Sequence

import pytest
import torch

import onerow
import parts
import scored
import tiny
from scored import SPANS, V
from steer._scoring import Answer, Asked, answers
from steer._scoring._answers import _shared
from steer.hooks import Model, Span, add, attach, mlp_out, resid_post

TEXTS = ["the sky is", "What", "Who was in Paris or London and Rome ?", "Is it the big old sea ?"]
ASKED = [Asked(text) for text in TEXTS]
PLANS = [
    scored.plan("all"),
    None,
    add(resid_post(3), V, strength=20.0, span="generated"),
    add(mlp_out(2), V, strength=20.0, span="last"),
]


@torch.no_grad()
def _said(model: Model, text: str, rule: onerow.Rule | None, new: int = 6) -> list[int]:
    """The likeliest tokens one by one, each from a pass of the whole text so far."""
    row = model.token_ids(text)
    prompt = len(row)
    for _ in range(new):
        here = torch.zeros(1, len(row), dtype=torch.bool)
        here[0, [] if rule is None else onerow.chosen(rule, prompt, row)] = True
        with parts.changing(model.anatomy.layers[1], parts.adding(V, here)):
            row.append(int(model.hf(torch.tensor([row]), use_cache=False).logits[0, -1].argmax()))
    return row[prompt:]


def _cut(ids: Sequence[int], ends: Sequence[int] = ()) -> Answer:
    stop = next((n for n, token in enumerate(ids) if token in ends), None)
    return Answer(_words(ids[:stop]), len(ids[:stop]), stop is not None)


def _words(ids: Sequence[int]) -> str:
    """What the tokens mean; the first four are special."""
    return " ".join(tiny.WORDS[i - 4] for i in ids if i > 3)


def _endless(model: Model) -> None:
    model.hf.generation_config.eos_token_id = None


@pytest.mark.parametrize("batch_tokens", [1, 8, 1024])
def test_answers_equal_those_to_one_prompt_at_a_time(any_model: Model, batch_tokens: int) -> None:
    found = answers(any_model, ASKED, PLANS, max_new_tokens=6, batch_tokens=batch_tokens)
    assert [len(arm) for arm in found] == [4, 4, 4, 4]
    for plan, arm in zip(PLANS, found, strict=True):
        with attach(any_model, plan):
            alone = [any_model.generate_text(text, max_new_tokens=6) for text in TEXTS]
        assert [answer.text for answer in arm] == [text.strip() for text in alone]
    assert len({tuple(arm) for arm in found}) == 4  # every plan does something


@pytest.mark.parametrize("span", list(SPANS), ids=str)
def test_answers_equal_those_by_hand(model: Model, span: str | Span) -> None:
    _endless(model)
    found = answers(model, ASKED, [scored.plan(span), None], max_new_tokens=6)
    assert found[0] == [_cut(_said(model, text, SPANS[span])) for text in TEXTS]
    assert found[1] == [_cut(_said(model, text, None)) for text in TEXTS]


def test_one_plan_for_all_rows_is_attached_as_one(model: Model) -> None:
    _endless(model)
    plan = scored.plan("all")
    assert _shared([plan, plan]) is plan
    assert _shared([None, None]) is None
    assert _shared([plan, None]) == [plan, None]
    found = answers(model, ASKED, [plan], max_new_tokens=6)
    assert found == [[_cut(_said(model, text, "all")) for text in TEXTS]]


def test_plans_share_the_passes(model: Model) -> None:
    _endless(model)
    with scored.little_memory(model, 99) as rows:
        answers(model, ASKED, PLANS, max_new_tokens=6, batch_tokens=1024)
    assert rows == [16] * 6


def test_no_more_tokens_are_cached_than_sixteen_times_a_batch(model: Model) -> None:
    _endless(model)
    with scored.little_memory(model, 99) as rows:
        answers(model, ASKED, PLANS, max_new_tokens=6, batch_tokens=4)
    # Of 64 tokens: four rows each of 9, 7, 3 and 1, and 6 more in each.
    assert rows == [4] * 6 + [4] * 6 + [7] * 6 + [1] * 6


@pytest.mark.parametrize("several", [False, True])
def test_an_answer_ends_with_an_end_token(model: Model, several: bool) -> None:
    said = [[_said(model, text, rule, 8) for text in TEXTS] for rule in ("all", None)]
    seconds = [ids[1] for arm in said for ids in arm]
    ends = seconds[1:3] if several else seconds[:1]
    model.hf.generation_config.eos_token_id = ends if several else ends[0]
    found = answers(model, ASKED, PLANS[:2], max_new_tokens=8)
    assert found == [[_cut(ids, ends) for ids in arm] for arm in said]
    assert {answer.ended for arm in found for answer in arm} == {True, False}
    assert 8 in {answer.tokens for arm in found for answer in arm} != {8}


def test_an_end_counts_in_the_first_place_and_in_the_last(model: Model) -> None:
    said = _said(model, TEXTS[0], "all", 4)
    for n, token in enumerate(said):
        model.hf.generation_config.eos_token_id = token
        found = answers(model, ASKED[:1], PLANS[:1], max_new_tokens=n + 1)
        assert found == [[_cut(said[: n + 1], [token])]]
        assert found[0][0].ended


def test_special_tokens_are_counted_but_not_shown(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    _endless(model)
    row = torch.tensor([[1, 11, 3, 14]])

    def generate(input_ids: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.cat([input_ids, row], 1)

    monkeypatch.setattr(model.hf, "generate", generate)
    assert answers(model, ASKED[:1]) == [[Answer("the sky", 4, False)]]


def test_nothing_is_asked_and_nothing_left(any_model: Model) -> None:
    assert answers(any_model, [], PLANS) == [[], [], [], []]
    hooks = tiny.hook_count(any_model.hf)
    before = any_model.hf(torch.tensor([[5, 6, 7]])).logits
    answers(any_model, ASKED, PLANS, max_new_tokens=2)
    assert tiny.hook_count(any_model.hf) == hooks
    assert torch.equal(any_model.hf(torch.tensor([[5, 6, 7]])).logits, before)
