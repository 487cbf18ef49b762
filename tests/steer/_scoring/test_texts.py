import math

import pytest
import torch
from torch import Tensor

import onerow
import parts
import scored
import tiny
from scored import SPANS, V
from steer._scoring import Compared, compare
from steer._scoring._texts import WORST
from steer.hooks import Model, Span, add, resid_post

TEXTS = [
    [5, 6, 7, 8],
    [9, 10],
    [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],
    [6, 7, 8, 9, 10, 11],
]
# How each head goes on from its states differs: plain, capped, scaled.
FAMILIES = ["llama", "gpt2", "gemma2", "gemma3", "cohere", "granite", "qwen3_moe", "bloom", "mpt"]


@torch.no_grad()
def _logits(model: Model, family: str, text: list[int], rule: onerow.Rule | None) -> Tensor:
    """`[tokens - 1, vocab]` in float64, after a prompt of one token, alone and uncached."""
    layer = parts.part(model.hf, family, "resid_post", 1)
    assert layer is not None
    here = torch.zeros(1, len(text), dtype=torch.bool)
    here[0, [] if rule is None else onerow.chosen(rule, 1, text)] = True
    with parts.changing(layer, parts.adding(V, here)):
        out: Tensor = model.hf(torch.tensor([text]), use_cache=False).logits[0, :-1]
    return out.double().log_softmax(-1)


def _by_hand(model: Model, family: str, rule: onerow.Rule | None) -> list[Compared]:
    found = []
    for text in TEXTS:
        base, now = _logits(model, family, text, None), _logits(model, family, text, rule)
        nll, kl, agreed = 0.0, 0.0, 0
        for t, target in enumerate(text[1:]):
            nll -= float(now[t, target])
            terms = zip(base[t].tolist(), now[t].tolist(), strict=True)
            kl += sum(math.exp(p) * (p - q) for p, q in terms)
            agreed += int(base[t].argmax() == now[t].argmax())
        found.append(Compared(len(text) - 1, nll, kl, agreed))
    return found


def _close(found: list[Compared], expected: list[Compared]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.tokens, one.agreed) == (other.tokens, other.agreed)
        assert (one.nll, one.kl) == pytest.approx((other.nll, other.kl), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihood_divergence_and_agreement_equal_those_of_full_logits(family: str) -> None:
    model = parts.model(family)
    found = compare(model, TEXTS, {"base": None, "all": scored.plan("all")})
    _close(found["base"], _by_hand(model, family, None))
    expected = _by_hand(model, family, "all")
    _close(found["all"], expected)
    assert min(row.kl for row in expected) > 0.01
    assert sum(row.agreed for row in expected) < sum(row.tokens for row in expected)


@pytest.mark.parametrize("span", list(SPANS), ids=str)
def test_a_text_is_generated_after_its_first_token(span: str | Span) -> None:
    model = parts.model("llama")
    found = compare(model, TEXTS, {"plan": scored.plan(span)})
    _close(found["plan"], _by_hand(model, "llama", SPANS[span]))


def test_the_unsteered_model_is_no_distance_from_itself() -> None:
    model = parts.model("llama")
    plans = {"none": None, "zero": scored.plan("all", 0.0)}
    found = compare(model, TEXTS, plans)
    for rows in found.values():
        assert [row.kl for row in rows] == pytest.approx([0.0] * 4, abs=1e-6)
        assert [row.agreed for row in rows] == [row.tokens for row in rows] == [3, 1, 12, 5]
    assert [row.kl for row in found["none"]] == [0.0] * 4  # not even rounded


def test_divergence_is_never_below_zero() -> None:
    model = parts.model("llama")
    found = compare(model, TEXTS, {str(n): scored.plan("all", 1e-6 * n) for n in range(20)})
    assert all(row.kl >= 0 for rows in found.values() for row in rows)


@pytest.mark.parametrize("batch_tokens", [1, 8, 1024])
def test_a_text_reads_the_same_whoever_stands_beside_it(batch_tokens: int) -> None:
    model, plans = parts.model("llama"), {"a": scored.plan("all"), "b": None}
    found = compare(model, TEXTS, plans, batch_tokens=batch_tokens)
    for n, text in enumerate(TEXTS):
        alone = compare(model, [text], plans)
        for name in plans:
            _close([found[name][n]], alone[name])


def test_more_tokens_than_have_their_logits_in_memory_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, plans = tiny.model(), {"a": scored.plan("all"), "b": None}
    expected = compare(model, TEXTS, plans)
    widest, logits = [], model.logits
    monkeypatch.setattr("steer._scoring._texts._SLICE", 3)
    monkeypatch.setattr(model, "logits", lambda s: widest.append(len(s)) or logits(s))
    found = compare(model, TEXTS, plans)
    for name in plans:
        _close(found[name], expected[name])
    assert sorted(set(widest)) == [3]  # 21 predictions


def test_base_is_run_once_and_each_plan_once(model: Model) -> None:
    compare(model, TEXTS, {"a": None})
    plans = {"a": None, "b": scored.plan("all"), "c": scored.plan("last"), "d": None}
    hooks = tiny.hook_count(model.hf)
    with scored.passes(model) as seen:
        compare(model, TEXTS, plans)
    assert len(seen) == 3
    assert tiny.hook_count(model.hf) == hooks


def test_a_model_that_overflows_counts_as_knowing_nothing() -> None:
    model = parts.model("llama")
    found = compare(model, TEXTS, {"broken": 2.0 * add(resid_post(1), torch.full((32,), 3e38))})
    for row, text in zip(found["broken"], TEXTS, strict=True):
        assert (row.tokens, row.agreed) == (len(text) - 1, 0)
        assert row.nll == row.kl == WORST * (len(text) - 1)
