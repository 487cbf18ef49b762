"""What all edits have in common: rows of their own, gradients, precision, and no side effects."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from steer.hooks import Ablate, Add, Affine, Clamp, Replace, Rotate, ScaleExperts

D = 6


def _rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _experts(seed: int) -> ScaleExperts:
    return ScaleExperts({e: float(f) for e, f in enumerate(_rand(D, seed=seed))})


MADE: dict[str, Callable[[int], Any]] = {
    "add": lambda seed: Add(_rand(D, seed=seed)),
    "add and keep": lambda seed: Add(_rand(D, seed=seed), keep_norm=True),
    "replace": lambda seed: Replace(_rand(D, seed=seed)),
    "ablate": lambda seed: Ablate(_rand(D, seed=seed)),
    "clamp": lambda seed: Clamp(_rand(D, seed=seed), -0.2, 0.3),
    "rotate": lambda seed: Rotate(_rand(D, seed=seed), 20.0),
    "affine": lambda seed: Affine(*_rand(2, 2, D, seed=seed), _rand(D, seed=seed + 50)),
    "experts": _experts,
}
every = pytest.mark.parametrize("make", MADE.values(), ids=MADE)
STRENGTHS = [0.5, -1.0, 0.0, 2.0]


@every
@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_edits_of_rows_do_what_each_does_alone(make: Any, each: int, dtype: torch.dtype) -> None:
    edits = [make(seed) for seed in range(4)]
    states = _rand(4 * each, 5, D, seed=99).to(dtype)
    chosen = _rand(4 * each, 5, 1, seed=98) > 0
    together = type(edits[0]).bind(edits, STRENGTHS, states)
    got = together(states.view(4, each * 5, D), chosen.view(4, each * 5, 1)).view_as(states)
    for r in range(4 * each):
        edit, strength = edits[r // each], STRENGTHS[r // each]
        alone = type(edit).bind([edit], [strength], states)
        expected = alone(states[r : r + 1], chosen[r : r + 1])[0]
        torch.testing.assert_close(
            got[r], expected, rtol=1e-6 if dtype == torch.float32 else 8e-3, atol=1e-6
        )
        assert torch.equal(got[r][~chosen[r, :, 0]], states[r][~chosen[r, :, 0]])


@every
def test_strength_0_and_no_chosen_token_change_nothing(make: Any) -> None:
    states = _rand(2, 3, D)
    for strength, chosen in ((0.0, True), (1.0, False)):
        bound = type(make(1)).bind([make(1)], [strength], states)
        got = bound(states, torch.full((2, 3, 1), chosen))
        torch.testing.assert_close(got, states, rtol=1e-6, atol=1e-6)
        assert chosen or torch.equal(got, states)


@every
@pytest.mark.parametrize("rows", [1, 2])
def test_the_gradient_of_a_strength_is_that_of_finite_differences(make: Any, rows: int) -> None:
    states, weights = _rand(2, 4, D, seed=3).double(), _rand(2, 4, D, seed=4).double()
    chosen = _rand(2, 4, 1, seed=5) > -0.5
    edits = [make(seed) for seed in range(rows)]

    def loss(strengths: list[Any]) -> Tensor:
        return (type(edits[0]).bind(edits, strengths, states)(states, chosen) * weights).sum()

    strengths = [torch.tensor(0.4 + 0.3 * r, requires_grad=True) for r in range(rows)]
    grads = torch.autograd.grad(loss(strengths), strengths)
    for r, grad in enumerate(grads):
        step = 2.0**-9
        up, down = ([float(s.detach()) for s in strengths] for _ in range(2))
        up[r] += step
        down[r] -= step
        slope = (loss(up) - loss(down)).detach() / (2 * step)
        assert float(grad) == pytest.approx(float(slope), rel=2e-3, abs=1e-4)
        assert abs(float(grad)) > 1e-2


@every
def test_a_number_and_a_tensor_of_it_are_the_same_strength(make: Any) -> None:
    states, chosen = _rand(2, 3, D), torch.ones(2, 3, 1).bool()
    kind = type(make(1))
    number = kind.bind([make(1)], [0.3], states)(states, chosen)
    tensor = kind.bind([make(1)], [torch.tensor(0.3)], states)(states, chosen)
    torch.testing.assert_close(tensor, number, rtol=1e-6, atol=1e-7)


@every
def test_gradients_reach_the_states_through_edited_and_other_tokens(make: Any) -> None:
    states = _rand(1, 3, D, seed=8).double().requires_grad_()
    chosen = torch.tensor([[[True], [False], [True]]])
    bound = type(make(1)).bind([make(1)], [0.7], states)
    assert torch.autograd.gradcheck(lambda h: bound(h, chosen), (states,), atol=1e-4)


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_is_kept_and_nothing_is_changed_in_place(make: Any, dtype: torch.dtype) -> None:
    states, edit = _rand(2, 3, D).to(dtype), make(1)
    before = {name: tensor.clone() for name, tensor in edit.tensors.items()}
    bound = type(edit).bind([edit], [1.5], states)
    got = bound(states, torch.ones(2, 3, 1).bool())
    again = bound(states, torch.ones(2, 3, 1).bool())
    assert got.dtype == dtype
    assert torch.equal(got, again)
    got.zero_()
    assert torch.equal(states, _rand(2, 3, D).to(dtype))
    assert all(torch.equal(edit.tensors[name], before[name]) for name in before)
    assert torch.equal(bound(states, torch.ones(2, 3, 1).bool()), again)


@every
def test_float64_states_are_not_rounded_to_float32(make: Any) -> None:
    states = _rand(1, 1, D, seed=8).double()
    moved = states + 1e-12
    bound = type(make(1)).bind([make(1)], [0.5], states)
    change = bound(moved, torch.ones(1, 1, 1).bool()) - bound(states, torch.ones(1, 1, 1).bool())
    assert 1e-14 < change.abs().max() < 1e-10


def test_a_strength_is_exact_in_float64() -> None:
    states, v = _rand(1, 2, D, seed=8).double(), _rand(D)
    got = Replace.bind([Replace(v)], [0.1], states)(states, torch.ones(1, 2, 1).bool())
    torch.testing.assert_close(got, 0.9 * states + 0.1 * v.double(), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("make", list(MADE.values())[:-1], ids=list(MADE)[:-1])
def test_the_callers_tensors_are_separate_ones_in_float32(make: Any) -> None:
    edit = make(1)
    mine = {name: tensor.clone().double() for name, tensor in edit.tensors.items()}
    copy = type(edit)(**mine, **edit.options)
    for tensor in mine.values():
        tensor.zero_()
    for name, tensor in copy.tensors.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, edit.tensors[name])
        tensor.fill_(3)
    assert all(not tensor.any() for tensor in mine.values())


@pytest.mark.parametrize("make", list(MADE.values())[:-1], ids=list(MADE)[:-1])
def test_gradients_reach_the_callers_tensors(make: Any) -> None:
    edit, states = make(1), _rand(2, 3, D, seed=8)
    mine = {name: tensor.clone().requires_grad_() for name, tensor in edit.tensors.items()}
    bound = type(edit).bind([type(edit)(**mine, **edit.options)] * 2, [0.5, 1.5], states)
    (bound(states, torch.ones(2, 3, 1).bool()) * _rand(2, 3, D, seed=4)).sum().backward()
    assert all(t.grad is not None and t.grad.abs().max() > 1e-3 for t in mine.values())
