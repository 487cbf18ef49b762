"""lm-evaluation-harness on a steered model agrees with our own scores on every span."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import families
import tiny
from steer import _lm_eval, interop
from steer._scoring import score_choices
from steer.hooks import (
    Model,
    ModelError,
    Plan,
    PlanError,
    RunError,
    ablate,
    add,
    attach,
    resid_post,
    resid_pre,
)

needs_harness = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")

SPANS = ["all", "prompt", "generated", "last"]
PAIRS = [
    ("What is the sky ?", " blue"),
    ("What is the sky ?", " big and red"),
    ("Is it", " not a small cat ."),
    ("Who was in Paris or London and Rome ?", " the old dog"),
    ("fire", " is hot"),
    ("fire is", " hot"),  # the tokens of the last, but the context ends elsewhere
    ("the sea is", " cold"),
    ("the sea is blue and", " green"),
]
OPTIONS = {"until": ["!!"], "max_gen_toks": 4}


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _plan(span: str) -> Plan:
    return add(resid_post(1), tiny.vector(3), strength=2.0, span=span) + ablate(
        resid_pre(2), tiny.vector(8), span=span
    )


def _asked(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def _theirs(lm: Any, pairs: list[tuple[str, str]] = PAIRS) -> Tensor:
    answers = lm.loglikelihood(_asked("loglikelihood", pairs), disable_tqdm=True)
    return torch.tensor([score for score, _ in answers])


def _ours(model: Model, plan: Plan | None, pairs: list[tuple[str, str]] = PAIRS) -> Tensor:
    contexts = [model.token_ids(context) for context, _ in pairs]
    choices = [[model.token_ids(text, start=False)] for _, text in pairs]
    with attach(model, plan):
        return torch.tensor(score_choices(model, contexts, choices)).flatten()


@needs_harness
@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
@pytest.mark.parametrize("span", SPANS)
def test_log_likelihoods_are_those_of_our_own_scores(
    model: Model, span: str, batch_size: int | str
) -> None:
    lm = interop.SteeredLM(model, _plan(span), batch_size=batch_size)
    steered = _ours(model, _plan(span))
    torch.testing.assert_close(_theirs(lm), steered, rtol=0, atol=1e-4)
    assert (steered - _ours(model, None)).abs().max() > 0.05


@needs_harness
@pytest.mark.parametrize("family", ["gpt2", "gemma3", "qwen3_moe"])
def test_log_likelihoods_agree_in_other_families(family: str) -> None:
    model = tiny.model(family)
    lm = interop.SteeredLM(model, _plan("generated"), batch_size=4)
    torch.testing.assert_close(_theirs(lm), _ours(model, _plan("generated")), rtol=0, atol=1e-4)


@needs_harness
def test_a_context_that_is_cut_off_on_the_left_is_still_the_context(model: Model) -> None:
    # Of five and two tokens the last four stay: the context loses its first three.
    long, short = [("What is the sky ?", " blue .")], [("sky ?", " blue .")]
    lm = interop.SteeredLM(model, _plan("prompt"), max_length=3)
    expected = _ours(model, _plan("prompt"), short)
    torch.testing.assert_close(_theirs(lm, long), expected, rtol=0, atol=1e-4)


@needs_harness
@pytest.mark.parametrize("span", SPANS)
def test_of_a_rolling_likelihood_the_start_token_is_the_prompt(model: Model, span: str) -> None:
    lm = interop.SteeredLM(model, _plan(span), batch_size=2)
    asked = _asked("loglikelihood_rolling", [("the sea is blue",), ("fire is hot and red .",)])
    got = torch.tensor(lm.loglikelihood_rolling(asked, disable_tqdm=True))
    texts = [model.token_ids(text) for (text,) in (one.args for one in asked)]
    with attach(model, _plan(span)):
        scores = score_choices(model, [[1], [1]], [[ids] for ids in texts])  # 1 is <s>
    torch.testing.assert_close(got, torch.tensor(scores).flatten(), rtol=0, atol=1e-4)


@needs_harness
@pytest.mark.parametrize("span", SPANS)
def test_generation_is_that_of_an_attached_plan(model: Model, span: str) -> None:
    lm = interop.SteeredLM(model, _plan(span), batch_size=3)
    contexts = [context for context, _ in PAIRS]
    asked = _asked("generate_until", [(context, OPTIONS) for context in contexts])
    got = lm.generate_until(asked, disable_tqdm=True)
    with attach(model, _plan(span)):
        expected = [model.generate_text(context, max_new_tokens=4) for context in contexts]
    assert got == expected
    assert got != [model.generate_text(context, max_new_tokens=4) for context in contexts]


@needs_harness
def test_the_model_is_left_as_it_was(model: Model) -> None:
    model.tokenizer.pad_token = None
    before = _ours(model, None)
    lm = interop.SteeredLM(model, _plan("all"), batch_size=2)
    _theirs(lm)
    assert tiny.hook_count(model.hf) == 0
    assert model.tokenizer.pad_token is None
    assert torch.equal(_ours(model, None), before)


@needs_harness
def test_no_plan_is_the_bare_model(model: Model) -> None:
    lm = interop.SteeredLM(model.hf, tokenizer=tiny.tokenizer(), batch_size=4)
    torch.testing.assert_close(_theirs(lm), _ours(model, None), rtol=0, atol=1e-4)
    assert lm.get_model_info()["plan"] is None


@needs_harness
def test_lm_eval_makes_it_by_name_from_files(model: Model, tmp_path: Path) -> None:
    from lm_eval.api.registry import get_model

    assert interop.SteeredLM  # registers itself
    model.hf.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    plan = _plan("generated")
    plan.save(tmp_path / "plan.safetensors")
    given = {"pretrained": str(tmp_path), "plan": str(tmp_path / "plan.safetensors")}
    lm = get_model("steer").create_from_arg_obj(given, {"batch_size": 2, "device": "cuda:0"})
    torch.testing.assert_close(_theirs(lm), _ours(model, plan), rtol=0, atol=1e-4)
    assert lm.get_model_info()["plan"] == plan.hash


@needs_harness
def test_what_would_be_wrong_is_refused(model: Model) -> None:
    rows = add(resid_post(1), tiny.vector(3), strength=torch.tensor([1.0, 2.0]))
    with pytest.raises(PlanError, match=r"strength for each row.*one strength for all$"):
        interop.SteeredLM(model, rows)
    with pytest.raises(PlanError, match="hidden size of 7"):
        interop.SteeredLM(model, add(resid_post(1), tiny.vector(3, size=7)))
    with pytest.raises(ModelError, match=r"^SteeredLM: logits_cache=True is wrong"):
        interop.SteeredLM(model, _plan("all"), logits_cache=True)
    with pytest.raises(ModelError, match=r"has an encoder; expected a decoder alone$"):
        interop.SteeredLM(families.network("bart"), tokenizer=tiny.tokenizer())


@needs_harness
def test_rows_in_an_unknown_order_are_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = interop.SteeredLM(model, _plan("prompt"), batch_size=4)
    in_order = _lm_eval._in_order
    monkeypatch.setattr(_lm_eval, "_in_order", lambda *given: in_order(*given)[::-1])
    with pytest.raises(RunError, match=r"unknown order.*pip install \"lm-eval==0\.4\.13\"$"):
        _theirs(lm)
    assert tiny.hook_count(model.hf) == 0


def test_without_lm_eval_the_line_that_installs_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_lm_eval, "steered_lm", _lm_eval.steered_lm.__wrapped__)  # no cache
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", None)
    with pytest.raises(ModelError, match=r'`pip install "steer\[lm-eval\]"`$'):
        from steer.interop import SteeredLM  # noqa: F401
    with pytest.raises(SystemExit, match=r'^steer: SteeredLM: .*pip install "steer\[lm-eval\]"'):
        interop.main()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'steer.interop' has no attribute 'Other'$"):
        interop.Other  # noqa: B018
    assert "SteeredLM" in dir(interop)


@needs_harness
def test_main_is_lm_evals_own_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.__main__
    from lm_eval.api.registry import model_registry

    found = []
    monkeypatch.setattr(
        lm_eval.__main__, "cli_evaluate", lambda: found.append("steer" in model_registry)
    )
    interop.main()
    assert found == [True]
