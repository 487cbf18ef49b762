import math

import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import Ablate, Add, PlanError


def _states(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, 5, tiny.D_MODEL, generator=torch.Generator().manual_seed(7)).to(dtype)


def test_add_is_exact_by_hand() -> None:
    add = Add(torch.tensor([1.0, -2.0, 0.5]))
    states = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    assert add.bind(2.0, states)(states).tolist() == [[[2.0, -4.0, 1.0], [3.0, -3.0, 2.0]]]


@pytest.mark.parametrize("strength", [1.0, 0.1, -3.0, 0.0])
def test_add_is_exact_in_float32(strength: float) -> None:
    states, v = _states(), tiny.vector()
    assert torch.equal(Add(v).bind(strength, states)(states), states + strength * v)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_half_precision_is_within_rounding(dtype: torch.dtype, bits: int) -> None:
    states, v = _states(dtype), tiny.vector()
    got = Add(v).bind(0.7, states)(states)
    exact = states.double() + 0.7 * v.double()
    # The vector is rounded once and the sum once, each by half a unit in the last place.
    bound = (0.7 * v.double().abs() + exact.abs() + 1e-6) * 2.0**-bits * 1.01
    assert got.dtype == dtype
    assert ((got.double() - exact).abs() <= bound).all()


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.bfloat16, 2.0**-7)])
@pytest.mark.parametrize("strength", [0.5, -4.0, 40.0])
def test_keep_norm_keeps_each_tokens_norm(dtype: torch.dtype, rtol: float, strength: float) -> None:
    states = _states(dtype) * torch.arange(1, 6).view(5, 1)  # each token has a norm of its own
    got = Add(tiny.vector(), keep_norm=True).bind(strength, states)(states)
    before, after = (x.double().norm(dim=-1) for x in (states, got))
    torch.testing.assert_close(after, before, rtol=rtol, atol=0)
    assert got.dtype == dtype
    direction = torch.nn.functional.cosine_similarity(
        got.double(), states.double() + strength * tiny.vector().double(), dim=-1
    )
    assert (direction > 1 - 1e-4).all()


def test_keep_norm_by_hand() -> None:
    # (3, 4) has norm 5; plus (5, 2) it is (8, 6) with norm 10, which halves to (4, 3).
    states = torch.tensor([[[3.0, 4.0]]])
    got = Add(torch.tensor([5.0, 2.0]), keep_norm=True).bind(1.0, states)(states)
    torch.testing.assert_close(got, torch.tensor([[[4.0, 3.0]]]))


def test_keep_norm_of_a_token_that_vanishes_is_finite() -> None:
    states = 100 * _states()[:1, :1]
    got = Add(states[0, 0], keep_norm=True).bind(-1.0, states)(states)
    assert got.tolist() == torch.zeros(1, 1, tiny.D_MODEL).tolist()


def test_ablate_by_hand() -> None:
    # u = (0.6, 0.8); h . u = 10 for (6, 8), 0 for (8, -6) and 0.6 for (1, 0).
    states = torch.tensor([[[6.0, 8.0], [8.0, -6.0], [1.0, 0.0]]])
    got = Ablate(torch.tensor([3.0, 4.0])).bind(1.0, states)(states)
    torch.testing.assert_close(got, torch.tensor([[[0.0, 0.0], [8.0, -6.0], [0.64, -0.48]]]))


@pytest.mark.parametrize("length", [1.0, 1e-30, 1e30])
def test_ablate_leaves_no_projection(length: float) -> None:
    states, u = _states(), tiny.vector() / tiny.vector().norm()
    got = Ablate(length * tiny.vector()).bind(1.0, states)(states)
    assert (got @ u).abs().max() < 1e-5
    by_hand = torch.stack([h - torch.dot(h, u) * u for h in states.view(-1, tiny.D_MODEL)])
    torch.testing.assert_close(got.view_as(by_hand), by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("strength", [0.5, 2.0, -1.0])
def test_a_part_of_a_direction_is_ablated(strength: float) -> None:
    states, u = _states(), tiny.vector() / tiny.vector().norm()
    got = Ablate(tiny.vector()).bind(strength, states)(states)
    torch.testing.assert_close(got @ u, (1 - strength) * (states @ u), rtol=1e-4, atol=1e-5)
    other = tiny.vector(1) - (tiny.vector(1) @ u) * u
    torch.testing.assert_close(got @ other, states @ other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Add, Ablate])
def test_the_callers_vector_is_a_separate_one(kind: type[Add] | type[Ablate]) -> None:
    mine = tiny.vector()
    edit = kind(mine)
    mine.zero_()
    assert torch.equal(edit.vector, tiny.vector())
    edit.vector.fill_(3)
    assert torch.equal(mine, torch.zeros(tiny.D_MODEL))


@pytest.mark.parametrize(
    "edit", [Add(tiny.vector()), Add(tiny.vector(), True), Ablate(tiny.vector())]
)
def test_states_are_never_changed_in_place(edit: Add | Ablate) -> None:
    states = _states()
    got = edit.bind(1.0, states)(states)
    assert torch.equal(states, _states())
    got.zero_()
    assert torch.equal(states, _states())
    assert torch.equal(edit.vector, tiny.vector())


def test_vectors_are_kept_in_float32() -> None:
    assert Add(tiny.vector().double()).vector.dtype == torch.float32
    half = tiny.vector().bfloat16()
    assert torch.equal(Ablate(half).vector, half.float())


@pytest.mark.parametrize("kind", [Add, Ablate])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_broken_vector_is_refused(kind: type[Add] | type[Ablate], bad: float) -> None:
    vector = tiny.vector()
    vector[3] = bad
    message = f"^{kind.__name__}: the vector has NaN or infinite entries; check the states"
    with pytest.raises(PlanError, match=message):
        kind(vector)


@pytest.mark.parametrize("kind", [Add, Ablate])
@pytest.mark.parametrize(
    ("vector", "got"),
    [(torch.ones(2, 3), r"\(2, 3\)"), (torch.tensor(1.0), r"\(\)"), ([1.0, 2.0], "list")],
)
def test_a_wrong_shape_is_refused(kind: type[Add] | type[Ablate], vector: object, got: str) -> None:
    message = rf"^{kind.__name__}: expected a vector of shape \(d_model,\), got {got}$"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        kind(vector)  # type: ignore[arg-type]


def test_no_direction_is_refused() -> None:
    message = "^Ablate: the direction is zero; check that the contrastive pairs differ$"
    with pytest.raises(PlanError, match=message):
        Ablate(torch.zeros(4))
    assert torch.equal(Add(torch.zeros(4)).vector, torch.zeros(4))
