"""`Add` and `Replace`."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import Add, PlanError, Replace

EVERY = torch.ones(1, 1, 1, dtype=torch.bool)
SOME = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]]).bool().unsqueeze(-1)
HALVES = [(torch.bfloat16, 8), (torch.float16, 11)]


def _states(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, 5, tiny.D_MODEL, generator=torch.Generator().manual_seed(7)).to(dtype)


def _run(edit: Any, strength: Any, states: Tensor, chosen: Tensor = EVERY) -> Tensor:
    return type(edit).bind([edit], [strength], states)(states, chosen.expand(*states.shape[:2], 1))


def _bits(states: Tensor) -> Any:
    return states.numpy().view(np.int32)


def test_add_is_exact_by_hand() -> None:
    states = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    got = _run(Add(torch.tensor([1.0, -2.0, 0.5])), 2.0, states)
    assert got.tolist() == [[[2.0, -4.0, 1.0], [3.0, -3.0, 2.0]]]


@pytest.mark.parametrize("strength", [1.0, 0.1, -3.0, 1e-20])
def test_add_is_exact_bit_for_bit_in_float32(strength: float) -> None:
    states, v = _states(), tiny.vector().numpy()
    got, before = _run(Add(tiny.vector()), strength, states, SOME).numpy(), states.numpy()
    for r, t in np.ndindex(3, 5):
        expected = before[r, t] + np.float32(strength) * v if SOME[r, t] else before[r, t]
        assert (got[r, t].view(np.int32) == expected.view(np.int32)).all()


@pytest.mark.parametrize("special", [float("inf"), float("nan"), 1e-45, 3e38])
def test_a_token_that_is_not_chosen_keeps_its_bits(special: float) -> None:
    states = torch.full((1, 2, 4), special)
    chosen = torch.tensor([[[True], [False]]])
    got = _run(Add(torch.ones(4)), 1.0, states, chosen)
    assert (_bits(got[0, 1]) == _bits(states[0, 1])).all()


def test_a_vector_too_large_for_float16_spoils_chosen_tokens_alone() -> None:
    states = _states(torch.float16)
    got = _run(Add(torch.full((tiny.D_MODEL,), 6e4)), 2.0, states, SOME)
    assert torch.equal(got[~SOME.squeeze(-1)], states[~SOME.squeeze(-1)])
    assert got[SOME.squeeze(-1)].isinf().all()


@pytest.mark.parametrize(("dtype", "bits"), HALVES)
def test_added_in_half_precision_it_is_within_rounding(dtype: torch.dtype, bits: int) -> None:
    states, v = _states(dtype), tiny.vector()
    got = _run(Add(v), 0.7, states)
    exact = states.double() + 0.7 * v.double()
    # The vector is rounded once and the sum once, each by half a unit in the last place.
    bound = (0.7 * v.double().abs() + exact.abs() + 1e-6) * 2.0**-bits * 1.01
    assert got.dtype == dtype
    assert ((got.double() - exact).abs() <= bound).all()


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.bfloat16, 2.0**-7)])
@pytest.mark.parametrize("strength", [0.5, -4.0, 40.0])
def test_keep_norm_keeps_each_tokens_norm(dtype: torch.dtype, rtol: float, strength: float) -> None:
    states = _states(dtype) * torch.arange(1, 6).view(5, 1)  # each token has a norm of its own
    got = _run(Add(tiny.vector(), keep_norm=True), strength, states)
    before, after = (x.double().norm(dim=-1) for x in (states, got))
    torch.testing.assert_close(after, before, rtol=rtol, atol=0)
    assert got.dtype == dtype
    direction = torch.nn.functional.cosine_similarity(
        got.double(), states.double() + strength * tiny.vector().double(), dim=-1
    )
    assert (direction > 1 - 1e-4).all()


def test_keep_norm_by_hand() -> None:
    # (3, 4) has norm 5; plus (5, 2) it is (8, 6) with norm 10, which halves to (4, 3).
    states = torch.tensor([[[3.0, 4.0], [3.0, 4.0]]])
    chosen = torch.tensor([[[True], [False]]])
    got = _run(Add(torch.tensor([5.0, 2.0]), keep_norm=True), 1.0, states, chosen)
    torch.testing.assert_close(got, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]]))


def test_keep_norm_of_a_token_that_vanishes_is_finite() -> None:
    states = 100 * _states()[:1, :1]
    got = _run(Add(states[0, 0], keep_norm=True), -1.0, states)
    assert got.tolist() == torch.zeros(1, 1, tiny.D_MODEL).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_replace_is_exact_at_strength_1(dtype: torch.dtype) -> None:
    states, v = 1e3 * _states(dtype), tiny.vector()
    got = _run(Replace(v), 1.0, states, SOME)
    assert torch.equal(got, torch.where(SOME, v.to(dtype), states))


@pytest.mark.parametrize(
    ("strength", "expected"),
    [(0.5, [1.0, 4.0]), (0.25, [0.0, 4.0]), (2.0, [7.0, 4.0]), (-1.0, [-5.0, 4.0])],
)
def test_replace_goes_a_part_of_the_way_by_hand(strength: float, expected: list[float]) -> None:
    got = _run(Replace(torch.tensor([3.0, 4.0])), strength, torch.tensor([[[-1.0, 4.0]]]))
    assert got.tolist() == [[expected]]


@pytest.mark.parametrize(("dtype", "bits"), HALVES)
def test_replaced_in_half_precision_it_is_rounded_once(dtype: torch.dtype, bits: int) -> None:
    states, v = _states(dtype), tiny.vector().double()
    got = _run(Replace(tiny.vector()), 0.3, states)
    exact = 0.7 * states.double() + 0.3 * v
    assert got.dtype == dtype
    assert ((got.double() - exact).abs() <= exact.abs() * 2.0**-bits + 1e-6).all()


@pytest.mark.parametrize("kind", [Add, Replace])
def test_a_zero_vector_is_a_vector(kind: Any) -> None:
    assert torch.equal(kind(torch.zeros(4)).vector, torch.zeros(4))


@pytest.mark.parametrize("kind", [Add, Replace])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_broken_vector_is_refused(kind: Any, bad: float) -> None:
    message = f"^{kind.__name__}: the vector has NaN or infinite entries; check the states"
    with pytest.raises(PlanError, match=message):
        kind(torch.tensor([1.0, bad]))


@pytest.mark.parametrize("kind", [Add, Replace])
@pytest.mark.parametrize(
    ("vector", "got"),
    [(torch.ones(2, 3), r"\(2, 3\)"), (torch.tensor(1.0), r"\(\)"), ([1.0, 2.0], "list")],
)
def test_a_wrong_shape_is_refused(kind: Any, vector: object, got: str) -> None:
    message = rf"^{kind.__name__}: expected a vector of shape \(d_model,\), got {got}$"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        kind(vector)
