"""`Ablate`, `Clamp` and `Rotate`."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import Ablate, Clamp, PlanError, Rotate

SOME = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]]).bool().unsqueeze(-1)
U = tiny.vector() / tiny.vector().norm()
NAMES = ["Ablate", "Clamp", "Rotate"]
KINDS: list[Any] = [Ablate, lambda v: Clamp(v, low=0.0), Rotate]
kinds = pytest.mark.parametrize(("kind", "name"), [*zip(KINDS, NAMES, strict=True)])


def _states(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, 5, tiny.D_MODEL, generator=torch.Generator().manual_seed(7)).to(dtype)


def _run(edit: Any, strength: Any, states: Tensor, chosen: Tensor | None = None) -> Tensor:
    every = torch.ones(*states.shape[:2], 1, dtype=torch.bool)
    bound = type(edit).bind([edit], [strength], states)
    out: Tensor = bound(states, every if chosen is None else chosen)
    return out


def _angle(a: Tensor, b: Tensor) -> float:
    cosine = (a.double() @ b.double() / a.double().norm() / b.double().norm()).clamp(-1, 1)
    return math.degrees(math.acos(float(cosine)))


def test_ablate_by_hand() -> None:
    # u = (0.6, 0.8); h . u = 10 for (6, 8), 0 for (8, -6) and 0.6 for (1, 0).
    states = torch.tensor([[[6.0, 8.0], [8.0, -6.0], [1.0, 0.0]]])
    got = _run(Ablate(torch.tensor([3.0, 4.0])), 1.0, states)
    torch.testing.assert_close(got, torch.tensor([[[0.0, 0.0], [8.0, -6.0], [0.64, -0.48]]]))


@pytest.mark.parametrize("length", [1.0, 1e-30, 1e-38, 1e30, 1e38])
def test_ablate_leaves_no_projection(length: float) -> None:
    states = _states()
    got = _run(Ablate(length * U), 1.0, states, SOME)
    for before, after, chosen in zip(*(x.flatten(0, 1) for x in (states, got, SOME)), strict=True):
        expected = before - torch.dot(before, U) * U if chosen else before
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-5 if chosen else 0)
        assert not chosen or abs(float(after @ U)) < 1e-5


@pytest.mark.parametrize("strength", [0.5, 2.0, -1.0])
def test_a_part_of_a_direction_is_ablated(strength: float) -> None:
    states = _states()
    got = _run(Ablate(tiny.vector()), strength, states)
    torch.testing.assert_close(got @ U, (1 - strength) * (states @ U), rtol=1e-4, atol=1e-5)
    other = tiny.vector(1) - (tiny.vector(1) @ U) * U
    torch.testing.assert_close(got @ other, states @ other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
@pytest.mark.parametrize("edit", [Ablate(U), Clamp(U, 0.5, 1.0), Rotate(U, 40.0)])
def test_in_half_precision_only_the_result_is_rounded(
    edit: Any, dtype: torch.dtype, bits: int
) -> None:
    states = _states(dtype)
    got, exact = _run(edit, 0.7, states), _run(edit, 0.7, states.double())
    assert got.dtype == dtype
    assert ((got.double() - exact).abs() <= exact.abs() * 2.0**-bits + 2e-6).all()


def test_clamp_by_hand() -> None:
    # Along u = (0.6, 0.8) the states have 10, 0 and -5; across it (0, 0), (8, -6) and (0, 0).
    states = torch.tensor([[[6.0, 8.0], [8.0, -6.0], [-3.0, -4.0]]])
    v = torch.tensor([3.0, 4.0])
    for low, high, strength, along in (
        (2.0, 2.0, 1.0, (2, 2, 2)),
        (2.0, 2.0, 0.5, (6, 1, -1.5)),
        (-1.0, 4.0, 1.0, (4, 0, -1)),
        (1.0, None, 1.0, (10, 1, 1)),
        (None, -1.0, 1.0, (-1, -1, -5)),
        (None, 0.0, -1.0, (20, 0, -5)),
    ):
        got = _run(Clamp(v, low, high), strength, states)
        across = ((0.0, 0.0), (8.0, -6.0), (0.0, 0.0))
        expected = [[x + 0.6 * a, y + 0.8 * a] for (x, y), a in zip(across, along, strict=True)]
        torch.testing.assert_close(got, torch.tensor([expected]))


def test_clamp_leaves_what_is_in_range_bit_for_bit() -> None:
    states = _states()
    inside = (states @ U).abs() < 0.5
    got = _run(Clamp(tiny.vector(), -0.5, 0.5), 1.0, states)
    assert 0 < inside.sum() < inside.numel()
    assert torch.equal(got[inside], states[inside])
    torch.testing.assert_close((got @ U)[~inside].abs(), torch.full(((~inside).sum(),), 0.5))


@pytest.mark.parametrize(
    ("strength", "angle"), [(1.0, 60.0), (0.5, 75.0), (3.0, 0.0), (10.0, 0.0), (-1.0, 120.0)]
)
@pytest.mark.parametrize("side", [1, -1])
def test_rotate_in_the_plane_by_hand(strength: float, angle: float, side: int) -> None:
    # A state of length 2 at a right angle to the direction; 30 degrees at strength 1.
    got = _run(
        Rotate(torch.tensor([5.0, 0.0]), 30.0), strength, torch.tensor([[[0.0, 2.0 * side]]])
    )
    a = math.radians(angle)
    expected = torch.tensor([[[2 * math.cos(a), side * 2 * math.sin(a)]]])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strength", [-10.0, -6.0])
def test_rotate_stops_at_the_opposite(strength: float) -> None:
    got = _run(Rotate(torch.tensor([5.0, 0.0]), 30.0), strength, torch.tensor([[[1.0, 1.0]]]))
    torch.testing.assert_close(got, torch.tensor([[[-math.sqrt(2), 0.0]]]), rtol=0, atol=1e-6)


def test_rotate_in_space_by_hand() -> None:
    # (1, 2, 2) has length 3; towards z by 90 degrees less than its angle keeps x : y at 1 : 2.
    h, z = torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 0.0, 7.0])
    angle = math.acos(2 / 3) - math.radians(20)
    flat = 3 * math.sin(angle) / math.sqrt(5)
    got = _run(Rotate(z, 20.0), 1.0, h.view(1, 1, 3))
    expected = torch.tensor([[[flat, 2 * flat, 3 * math.cos(angle)]]])
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("degrees", [17.0, -25.0, 300.0])
def test_rotate_turns_by_the_angle_and_keeps_the_norm(degrees: float) -> None:
    states = _states()
    got = _run(Rotate(tiny.vector(), degrees), 1.0, states, SOME)
    assert torch.equal(got[~SOME.squeeze(-1)], states[~SOME.squeeze(-1)])
    torch.testing.assert_close(got.norm(dim=-1), states.norm(dim=-1))
    for h, new in zip(*(x[SOME.squeeze(-1)] for x in (states, got)), strict=True):
        expected = min(max(_angle(h, U) - degrees, 0), 180)
        assert _angle(new, U) == pytest.approx(expected, abs=0.05)
        side = h - (h @ U) * U
        other = new - (new @ U) * U
        assert other.norm() < 1e-3 or _angle(side, other) < 0.05


@pytest.mark.parametrize("state", [[0.0, 0.0], [6.0, 8.0], [-3.0, -4.0], [0.3, 0.4]])
@pytest.mark.parametrize("degrees", [30.0, -30.0, 400.0])
def test_a_state_with_no_plane_stays_and_has_finite_gradients(
    state: list[float], degrees: float
) -> None:
    states = torch.tensor([[state, [1.0, 0.0]]], requires_grad=True)
    v, s = torch.tensor([3.0, 4.0], requires_grad=True), torch.tensor(1.0, requires_grad=True)
    got = _run(Rotate(v, degrees), s, states)
    assert got[0, 0].tolist() == states[0, 0].tolist()
    grads = torch.autograd.grad((got * torch.tensor([1.0, 2.0])).sum(), [states, v, s])
    assert all(grad.isfinite().all() for grad in grads)
    assert grads[0][0, 0].tolist() == [1.0, 2.0]


def test_nothing_of_a_state_that_is_not_chosen_is_in_the_gradients() -> None:
    states = torch.tensor([[[6.0, 8.0], [0.0, 0.0], [1.0, 1.0]]], requires_grad=True)
    chosen = torch.tensor([[[False], [False], [True]]])
    _run(Rotate(torch.tensor([3.0, 4.0]), 9.0), 1.0, states, chosen)[0, :2].sum().backward()
    assert states.grad is not None
    assert states.grad.tolist() == [[[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]]


@kinds
def test_no_direction_is_refused(kind: Any, name: str) -> None:
    message = f"^{name}: the direction is zero; check that the contrastive pairs differ$"
    with pytest.raises(PlanError, match=message):
        kind(torch.zeros(4))


@kinds
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_direction_is_refused(kind: Any, name: str, bad: float) -> None:
    with pytest.raises(PlanError, match=f"^{name}: the vector has NaN or infinite entries"):
        kind(torch.tensor([1.0, bad]))


@kinds
@pytest.mark.parametrize(("vector", "got"), [(torch.ones(2, 3), r"\(2, 3\)"), ([1.0], "list")])
def test_a_wrong_shape_is_refused(kind: Any, name: str, vector: object, got: str) -> None:
    message = rf"^{name}: expected a vector of shape \(d_model,\), got {got}$"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        kind(vector)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (None, None, "expected a finite low or high, got low=None, high=None"),
        (math.nan, None, "expected a finite low or high, got low=nan, high=None"),
        (0.0, math.inf, "expected a finite low or high, got low=0.0, high=inf"),
        (1.0, 0.5, "low=1.0 is above high=0.5"),
        ("a", None, "expected a finite low or high, got low=a, high=None"),
    ],
)
def test_wrong_bounds_are_refused(low: Any, high: Any, message: str) -> None:
    with onerow.unchecked(), pytest.raises(PlanError, match=f"^Clamp: {message}$"):
        Clamp(U, low, high)


@pytest.mark.parametrize("degrees", [math.nan, math.inf, "30", True, None])
def test_a_wrong_angle_is_refused(degrees: Any) -> None:
    with (
        onerow.unchecked(),
        pytest.raises(PlanError, match=f"^Rotate: expected a finite angle.*, got {degrees}$"),
    ):
        Rotate(U, degrees)
