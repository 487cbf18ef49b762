"""lm-evaluation-harness measures a steered model as somebody else's code, and agrees with ours."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import families
import tiny
from steer._scoring import score_choices
from steer.hooks import Model, Plan, ablate, add, attach, prompts, resid_post, resid_pre

if find_spec("lm_eval") is None:
    pytest.skip("lm-eval is not installed", allow_module_level=True)

FAMILIES = ("gpt2", "llama", "gemma3", "qwen3", "qwen3_moe")
SPANS = ("all", "prompt", "generated", "last")
PAIRS = [
    ("What is the sky ?", " blue"),
    ("What is the sky ?", " big and red"),
    ("Is it", " not a small cat ."),
    ("Who was in Paris or London and Rome ?", " the old dog"),
    ("fire", " is hot"),
    ("the sea is", " cold"),
    ("the sea is blue and", " green"),
]


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _plan(span: str) -> Plan:
    add_, ablate_ = tiny.vector(3), tiny.vector(8)
    return add(resid_post(1), add_, strength=2.0, span=span) + ablate(
        resid_pre(2), ablate_, span=span
    )


def _harness(hf: PreTrainedModel, kind: Any = None) -> Any:
    from lm_eval.models.huggingface import HFLM

    return (kind or HFLM)(pretrained=hf, tokenizer=tiny.tokenizer(), batch_size=4)


def _asked(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def _theirs(lm: Any, hf: PreTrainedModel, plan: Plan | None) -> Tensor:
    with attach(hf, plan):
        answers = lm.loglikelihood(_asked("loglikelihood", PAIRS), disable_tqdm=True)
    return torch.tensor([score for score, _ in answers])


def _ours(hf: PreTrainedModel, plan: Plan | None) -> Tensor:
    model = Model(hf, tiny.tokenizer())
    contexts = [model.token_ids(context) for context, _ in PAIRS]
    choices = [[model.token_ids(text, start=False)] for _, text in PAIRS]
    with attach(hf, plan):
        return torch.tensor(score_choices(model, contexts, choices)).flatten()


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_agree_where_all_tokens_are_steered(family: str) -> None:
    hf = families.network(family)
    lm = _harness(hf)
    clean = _ours(hf, None)
    torch.testing.assert_close(_theirs(lm, hf, None), clean, rtol=0, atol=1e-4)
    steered = _ours(hf, _plan("all"))
    torch.testing.assert_close(_theirs(lm, hf, _plan("all")), steered, rtol=0, atol=1e-4)
    assert (steered - clean).abs().min() > 1e-2


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("family", FAMILIES)
def test_generate_until_agrees_on_every_span(family: str, span: str) -> None:
    hf = families.network(family)
    options = {"until": ["!!"], "max_gen_toks": 4}
    asked = _asked("generate_until", [(context, options) for context, _ in PAIRS])
    model = Model(hf, tiny.tokenizer())
    lm = _harness(hf)
    with attach(hf, _plan(span)):
        got = lm.generate_until(asked, disable_tqdm=True)
        expected = [model.generate_text(context, max_new_tokens=4) for context, _ in PAIRS]
    assert got == expected
    assert got != [model.generate_text(context, max_new_tokens=4) for context, _ in PAIRS]


@pytest.mark.parametrize("span", SPANS[1:])
def test_where_a_context_ends_is_not_said_by_the_harness(span: str) -> None:
    # Its rows hold context and continuation, padded on the right with no mask. All of a row counts
    # as prompt: nothing is generated, and the last token is the last column.
    hf = families.network("llama")
    got, clean = _theirs(_harness(hf), hf, _plan(span)), _ours(hf, None)
    assert torch.allclose(got, clean, atol=1e-4) == (span == "generated")
    if span == "prompt":
        torch.testing.assert_close(got, _ours(hf, _plan("all")), rtol=0, atol=1e-4)
    assert not torch.allclose(got, _ours(hf, _plan(span)), atol=0.05)


def _telling() -> Any:
    """An `HFLM` that says where contexts end; of no two pairs may the rows be equal."""
    from lm_eval.models.huggingface import HFLM

    class Telling(HFLM):
        lengths: dict[tuple[int, ...], int]

        def _loglikelihood_tokens(self, requests: Any, *args: Any, **kwargs: Any) -> Any:
            self.lengths = {(*c, *a[:-1]): len(c) for _, c, a in requests}
            return super()._loglikelihood_tokens(requests, *args, **kwargs)

        def _model_call(self, inps: Tensor, *args: Any, **kwargs: Any) -> Any:
            rows = [tuple(token for token in row if token) for row in inps.tolist()]  # 0 pads
            with prompts([self.lengths[row] for row in rows]):
                return super()._model_call(inps, *args, **kwargs)

    return Telling


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("family", FAMILIES)
def test_with_prompts_told_log_probabilities_agree_on_every_span(family: str, span: str) -> None:
    hf = families.network(family)
    got = _theirs(_harness(hf, _telling()), hf, _plan(span))
    steered = _ours(hf, _plan(span))
    torch.testing.assert_close(got, steered, rtol=0, atol=1e-4)
    assert not torch.allclose(steered, _ours(hf, None), atol=0.05)
