import jaxtyping
import pytest
import torch
from torch import Tensor

import byhand
import tiny
from steer.attribution import Scored, integrated_gradients
from steer.hooks import DataError, Model

Row = tuple[list[int], list[int]]
ROWS: list[Row] = [([5, 6, 7, 8, 9], [10, 11, 12]), ([20, 21], [22]), ([30], [31, 32, 33, 34])]


def absent_by_hand(model: Model, baseline: str) -> Tensor:
    pad = byhand.embeddings(model.hf, [0])[0]
    return pad if baseline == "pad" else torch.zeros_like(pad)


@pytest.mark.parametrize(("fixed_answer", "baseline"), [(True, "zero"), (False, "pad")])
def test_a_batch_equals_one_sequence_at_a_time_by_plain_autograd(
    any_model: Model, fixed_answer: bool, baseline: str
) -> None:
    found = integrated_gradients(
        any_model, ROWS, fixed_answer=fixed_answer, steps=3, baseline=baseline
    )
    absent = absent_by_hand(any_model, baseline)
    assert [(s.prompt, s.answer) for s in found] == ROWS
    for scored, (prompt, answer) in zip(found, ROWS, strict=True):
        scores, delta = byhand.integrated(
            any_model.hf, prompt, answer, absent, fixed_answer=fixed_answer, steps=3
        )
        assert scores.abs().max() > 0.01
        torch.testing.assert_close(scored.scores, scores, rtol=1e-3, atol=1e-4)
        assert scored.delta == pytest.approx(delta, abs=1e-3)


def test_tokens_that_are_held_fixed_score_zero(model: Model) -> None:
    for scored in integrated_gradients(model, ROWS, fixed_answer=True, steps=4):
        assert (scored.scores[: len(scored.prompt)] != 0).all()
        assert (scored.scores[len(scored.prompt) :] == 0).all()


def test_no_token_looks_ahead(model: Model) -> None:
    """The last token of the answer is predicted, but nothing reads it."""
    for scored in integrated_gradients(model, ROWS, fixed_answer=False, steps=4):
        assert scored.scores[-1] == 0
        assert (scored.scores[:-1] != 0).all()


@pytest.mark.parametrize("fixed_answer", [True, False])
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_attributions_add_up_to_the_gain(family: str, fixed_answer: bool) -> None:
    """To 1 % of their size; not in a mixture of experts, whose routing jumps."""
    model = tiny.model(family)
    found = integrated_gradients(model, ROWS, fixed_answer=fixed_answer, steps=50, baseline="pad")
    for scored, (prompt, answer) in zip(found, ROWS, strict=True):
        here = byhand.embeddings(model.hf, [*prompt, *answer])
        there = here.clone()
        there[: len(prompt) if fixed_answer else None] = byhand.embeddings(model.hf, [0])
        with torch.no_grad():
            gain = byhand.answer_log_p(model.hf, here, answer)
            gain -= byhand.answer_log_p(model.hf, there, answer)
        error = float(scored.scores.sum() - gain)
        assert abs(error) < 0.01 * float(scored.scores.abs().sum())
        assert scored.delta == pytest.approx(error, abs=1e-4)


def scores_of(found: list[Scored]) -> Tensor:
    return torch.cat([scored.scores for scored in found])


@pytest.mark.parametrize("batch_tokens", [1, 9, 40, 10_000])
def test_the_size_of_batches_changes_nothing(model: Model, batch_tokens: int) -> None:
    options = {"fixed_answer": False, "steps": 5, "baseline": "pad"}
    found = integrated_gradients(model, ROWS, batch_tokens=batch_tokens, **options)
    alone = [integrated_gradients(model, [row], **options)[0] for row in ROWS]
    torch.testing.assert_close(scores_of(found), scores_of(alone), rtol=1e-3, atol=1e-4)
    assert [s.delta for s in found] == pytest.approx([s.delta for s in alone], abs=1e-3)


def test_it_works_where_gradients_are_off(model: Model) -> None:
    expected = integrated_gradients(model, ROWS, fixed_answer=False, steps=4)
    with torch.no_grad():
        found = integrated_gradients(model, ROWS, fixed_answer=False, steps=4)
    assert torch.equal(scores_of(found), scores_of(expected))
    assert not scores_of(found).requires_grad


def test_an_unknown_baseline(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(DataError, match="unknown baseline 'padding'; expected zero or pad"):
        integrated_gradients(model, ROWS, fixed_answer=False, baseline="padding")


State = tuple[list[bool], list[bool], list[bool]]


def state_of(model: Model) -> State:
    """What is trained, what is in training mode, and which kernels of attention are on."""
    kernels = torch.backends.cuda
    return (
        [parameter.requires_grad for parameter in model.hf.parameters()],
        [module.training for module in model.hf.modules()],
        [kernels.flash_sdp_enabled(), kernels.mem_efficient_sdp_enabled()],
    )


def mixed(model: Model) -> State:
    """Freeze some parameters and put a layer in training mode; the state that must come back."""
    for n, parameter in enumerate(model.hf.parameters()):
        parameter.requires_grad_(n % 3 > 0)
    model.anatomy.layers[1].train()
    return state_of(model)


def test_parameters_and_modes_are_as_before(model: Model) -> None:
    before, hooks = mixed(model), tiny.hook_count(model.hf)
    integrated_gradients(model, ROWS, fixed_answer=False, steps=3)
    assert state_of(model) == before
    assert tiny.hook_count(model.hf) == hooks
    assert all(parameter.grad is None for parameter in model.hf.parameters())


def test_parameters_and_modes_are_as_before_after_an_exception(model: Model) -> None:
    before = mixed(model)
    during = []

    def fail(*_: object) -> None:
        during.append(state_of(model))
        raise RuntimeError("out of memory")

    handle = model.anatomy.layers[2].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        integrated_gradients(model, ROWS, fixed_answer=False, steps=3)
    handle.remove()
    wanted, training, _ = during[0]
    assert not any(wanted)
    assert not any(training)
    assert state_of(model) == before
    assert all(parameter.grad is None for parameter in model.hf.parameters())


def test_gradients_that_the_caller_holds_stay(model: Model) -> None:
    model.hf(torch.tensor([[5, 6]])).logits.sum().backward()
    before = [parameter.grad.clone() for parameter in model.hf.parameters()]
    integrated_gradients(model, ROWS, fixed_answer=False, steps=3)
    for parameter, gradient in zip(model.hf.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient)
