import math

import pytest
import torch

import tiny
from steer._judges import REFUSAL_QUESTION, TRUTH_QUESTION, Exchange, verdict, with_references
from steer._judges._asking import asked
from steer.hooks import Model, ModelError

EXCHANGES = [
    Exchange("What is the sky ?", "blue"),
    Exchange("Is fire hot ?", "yes it is hot and fire is red"),
    Exchange("Is ice hot ?", "no"),
]
CHAT = "{% for m in messages %}<s> {{ m.content }} {% endfor %}A:"


def _by_hand(model: Model, text: str) -> float:
    """The whole model on one row; of the six spellings the tiny tokenizer knows `yes` and `no`."""
    ids = torch.tensor([model.token_ids(text)])
    with torch.no_grad():
        logits = model.hf(input_ids=ids).logits[0, -1]
    yes, no = (model.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    return float(torch.sigmoid(logits[yes] - logits[no]))


@pytest.mark.parametrize("family", list(tiny.FAMILIES))
def test_the_odds_are_those_of_the_whole_model(family: str) -> None:
    model = tiny.model(family)
    expected = [_by_hand(model, asked(e, REFUSAL_QUESTION) + "\n\nReply:") for e in EXCHANGES]
    assert verdict(model)(EXCHANGES) == pytest.approx(expected, abs=3e-6)
    assert max(expected) - min(expected) > 1e-5  # Gemma's layers see eight tokens back


def test_batches_do_not_change_the_verdict() -> None:
    model = tiny.model()
    one_by_one = verdict(model, batch_tokens=1)(EXCHANGES)
    assert verdict(model, batch_tokens=10_000)(EXCHANGES) == pytest.approx(one_by_one, abs=1e-5)


def test_the_chat_template_is_used() -> None:
    model = tiny.model()
    model.tokenizer.chat_template = CHAT
    text = f"<s> {asked(EXCHANGES[0], TRUTH_QUESTION)} A:"
    said = verdict(model, TRUTH_QUESTION)(EXCHANGES[:1])
    assert said == pytest.approx([_by_hand(model, text)], abs=1e-5)
    assert said != pytest.approx(verdict(tiny.model(), TRUTH_QUESTION)(EXCHANGES[:1]), abs=1e-3)


def test_spellings_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    monkeypatch.setattr("steer._judges._verdict._YES", ("yes", "hot", "yes", "unknown"))
    text = asked(EXCHANGES[0], REFUSAL_QUESTION) + "\n\nReply:"
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([model.token_ids(text)])).logits[0, -1]
    p = logits.softmax(-1)
    yes, hot, no = (
        float(p[model.tokenizer.convert_tokens_to_ids(w)]) for w in ("yes", "hot", "no")
    )
    assert verdict(model)(EXCHANGES[:1]) == pytest.approx(
        [(yes + hot) / (yes + hot + no)], abs=1e-5
    )


def test_a_token_of_both_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steer._judges._verdict._YES", ("unknown",))
    with pytest.raises(ModelError, match="^verdict: tiny-llama's tokenizer begins Yes and No"):
        verdict(tiny.model())


def test_what_is_longer_than_the_context_is_not_judged() -> None:
    model = tiny.model()  # 256 positions
    long = Exchange("Is ice hot ?", "no " * 300)
    said = verdict(model)([EXCHANGES[0], long, EXCHANGES[2]])
    assert said[1] is None
    short = [p for p in said if p is not None]
    assert short == pytest.approx(verdict(model)([EXCHANGES[0], EXCHANGES[2]]), abs=1e-5)


def test_a_pass_that_overflows_says_nothing() -> None:
    model = tiny.model()
    assert verdict(model)(EXCHANGES[:1]) != [None]
    with torch.no_grad():
        model.anatomy.embedding.weight.fill_(math.nan)
    assert verdict(model)(EXCHANGES[:1]) == [None]


def test_no_exchanges_no_verdicts() -> None:
    assert verdict(tiny.model())([]) == []


def test_references_stand_in_the_prompt() -> None:
    assert with_references("What is glass?", ["A solid."], ["A liquid.", "A gas."]) == (
        "What is glass?\n\nTrue reference answers:\n- A solid.\n"
        "False reference answers:\n- A liquid.\n- A gas."
    )
    assert "False" not in with_references("What is glass?", ["A solid."])
