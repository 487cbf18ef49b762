import pytest
import torch
from torch import Tensor

import onerow
import tiny
from steer.hooks import Affine, PlanError

D = 6


def _rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _chosen(states: Tensor) -> Tensor:
    return (torch.arange(states.shape[0] * states.shape[1]) % 3 != 1).view(*states.shape[:2], 1)


def _loop(h: Tensor, read: Tensor, write: Tensor, bias: Tensor, strength: float) -> list[float]:
    out = []
    for i in range(D):
        change = float(bias[i])
        for k in range(read.shape[0]):
            change += sum(float(read[k, j]) * float(h[j]) for j in range(D)) * float(write[k, i])
        out.append(float(h[i]) + strength * change)
    return out


@pytest.mark.parametrize("rank", [1, 2, D, 9])
@pytest.mark.parametrize("strength", [1.0, -0.3])
def test_it_is_the_map_worked_out_number_by_number(rank: int, strength: float) -> None:
    states, bias = _rand(2, 3, D), _rand(D, seed=3)
    read, write = _rand(rank, D, seed=1), _rand(rank, D, seed=2)
    bound = Affine.bind([Affine(read, write, bias)], [strength], states)
    got, chosen = bound(states, _chosen(states)), _chosen(states)
    for r in range(2):
        for t in range(3):
            by_hand = torch.tensor(_loop(states[r, t], read, write, bias, strength))
            expected = by_hand if chosen[r, t] else states[r, t]
            torch.testing.assert_close(got[r, t], expected, rtol=1e-5, atol=1e-5)


def test_loreft_is_such_a_map() -> None:
    # h + R^T (W h + b - R h), with the rows of R orthonormal.
    rotation = torch.linalg.qr(_rand(D, 2, seed=4))[0].T
    weight, b, h = _rand(2, D, seed=5), _rand(2, seed=6), _rand(D, seed=7)
    edit = Affine(weight - rotation, rotation, rotation.T @ b)
    got = Affine.bind([edit], [1.0], h)(h.view(1, 1, D), torch.ones(1, 1, 1).bool())
    expected = h + rotation.T @ (weight @ h + b - rotation @ h)
    torch.testing.assert_close(got.flatten(), expected)
    torch.testing.assert_close(rotation @ got.flatten(), weight @ h + b)


def test_without_a_bias_nothing_is_added() -> None:
    edit = Affine(_rand(2, D), _rand(2, D, seed=1))
    zero = torch.zeros(1, 1, D)
    got = Affine.bind([edit], [5.0], zero)(zero, torch.ones(1, 1, 1).bool())
    assert got.tolist() == zero.tolist()
    assert edit.bias is not None
    assert edit.bias.tolist() == [0.0] * D


def test_rows_may_have_different_ranks() -> None:
    states = _rand(3, 4, D)
    parts = [
        (_rand(k, D, seed=k), _rand(k, D, seed=k + 9), _rand(D, seed=k + 5)) for k in (1, 3, 2)
    ]
    strengths = [0.5, -1.0, 2.0]
    bound = Affine.bind([Affine(*part) for part in parts], strengths, states)
    got = bound(states, torch.ones(3, 4, 1).bool())
    for r, (part, strength) in enumerate(zip(parts, strengths, strict=True)):
        expected = torch.tensor([_loop(h, *part, strength) for h in states[r]])
        torch.testing.assert_close(got[r], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_in_half_precision_only_the_result_is_rounded(dtype: torch.dtype, bits: int) -> None:
    states = _rand(2, 3, D).to(dtype)
    read, write, bias = _rand(2, D, seed=1), _rand(2, D, seed=2), _rand(D, seed=3)
    got = Affine.bind([Affine(read, write, bias)], [1.0], states)(
        states, torch.ones(2, 3, 1).bool()
    )
    exact = torch.tensor([[_loop(h, read, write, bias, 1.0) for h in row] for row in states])
    assert got.dtype == dtype
    assert ((got - exact).abs() <= exact.abs() * 2.0**-bits * 1.01 + 1e-5).all()


@pytest.mark.parametrize(
    ("read", "write", "bias"),
    [((2, D), (3, D), None), ((2, D), (2, D + 1), None), ((2, D), (2, D), (D + 1,))],
)
def test_shapes_that_differ_are_refused(
    read: tuple[int, ...], write: tuple[int, ...], bias: tuple[int, ...] | None
) -> None:
    given = torch.zeros(bias) if bias else None
    message = r"^Affine: expected read and write of one shape \(rank, d\) and a bias \(d,\), got"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        Affine(torch.zeros(read), torch.zeros(write), given)


@pytest.mark.parametrize("place", ["read", "write", "bias"])
def test_a_broken_tensor_is_refused(place: str) -> None:
    parts = {"read": torch.zeros(2, D), "write": torch.zeros(2, D), "bias": torch.zeros(D)}
    parts[place].view(-1)[3] = float("nan")
    with pytest.raises(PlanError, match=r"^Affine: the vector has NaN or infinite entries"):
        Affine(**parts)


def test_a_vector_is_no_matrix() -> None:
    message = r"^Affine: expected a matrix of shape \(rank, d_model\), got \(6,\)$"
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        Affine(tiny.vector(size=D), torch.zeros(1, D))
