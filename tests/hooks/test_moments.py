from collections.abc import Callable
from functools import reduce
from operator import add as plus
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from steer.hooks import (
    Model,
    Moments,
    add,
    attach,
    final,
    moments,
    record,
    resid_post,
    router,
)

ROWS = [[5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 6], [15, 16, 17], [7], [18, 19, 20, 21, 22]]
PAIRS = [([5, 6, 7], [8, 9]), ([10], [11, 12, 13]), ([5, 6], [7, 8, 9]), ([5, 6], [7, 8, 9])]
SITES = [resid_post(1), final]
POOLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda states: states,
    "last": lambda states: states[-1:],
    "mean": lambda states: states.sum(0, keepdims=True) / len(states),
}


@torch.no_grad()
def _alone(model: Model, row: list[int]) -> dict[Any, np.ndarray]:
    """`[tokens, d_model]` of one row alone, from transformers itself."""
    states = model.hf(torch.tensor([row]), output_hidden_states=True).hidden_states
    return {resid_post(1): states[2][0].double().numpy(), final: states[-1][0].double().numpy()}


def _agree(got: Moments, states: np.ndarray, tolerance: float = 1e-4) -> None:
    assert got.count == len(states)
    assert got.mean.dtype == got.scatter.dtype == torch.float64
    np.testing.assert_allclose(got.mean, states.mean(0), rtol=tolerance, atol=tolerance)
    expected = np.cov(states, rowvar=False)
    np.testing.assert_allclose(got.covariance, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        got.scatter, expected * (len(states) - 1), rtol=tolerance, atol=10 * tolerance
    )


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("budget", [1, 7, 1000])
def test_moments_are_those_of_numpy(model: Model, pool: Any, budget: int) -> None:
    got = moments(model, ROWS, SITES, pool=pool, batch_tokens=budget)
    assert list(got) == SITES
    for site in SITES:
        states = [POOLS[pool](_alone(model, row)[site]) for row in ROWS]
        _agree(got[site], np.concatenate(states))


@pytest.mark.parametrize("pool", POOLS)
def test_a_span_of_pairs_is_counted(model: Model, pool: Any) -> None:
    got = moments(model, PAIRS, final, span="generated", pool=pool, batch_tokens=8)[final]
    rows = [(_alone(model, prompt + answer)[final], len(prompt)) for prompt, answer in PAIRS]
    _agree(got, np.concatenate([POOLS[pool](states[start:]) for states, start in rows]))


def test_every_token_counts_unless_told_otherwise(model: Model) -> None:
    assert moments(model, ROWS, final)[final].count == 2 + 1 + 7 + 2 + 3 + 1 + 5


def test_a_row_that_stands_twice_counts_twice(model: Model) -> None:
    a, b = _alone(model, [5, 6])[final][-1], _alone(model, [7])[final][-1]
    got = moments(model, [[5, 6], [7], [5, 6]], final, pool="last")[final]
    np.testing.assert_allclose(got.mean, (2 * a + b) / 3, rtol=1e-4, atol=1e-4)
    _agree(got, np.stack([a, a, b]))


def test_another_width_than_that_of_the_residual_stream() -> None:
    moe = tiny.model("qwen3_moe")
    got = moments(moe, ROWS, router(2))[router(2)]
    assert got.covariance.shape == (4, 4)
    _agree(got, torch.cat(record(moe, ROWS, router(2), pool="none")[router(2)]).numpy())


def test_a_steered_model_has_other_moments(model: Model) -> None:
    states = np.concatenate([_alone(model, row)[resid_post(1)] for row in ROWS])
    with attach(model, add(resid_post(1), tiny.vector())):
        got = moments(model, ROWS, resid_post(1))[resid_post(1)]
    _agree(got, states + tiny.vector().double().numpy())


def _drawn(n: int, mean: float = 0.0, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return mean + torch.randn(n, 4, dtype=torch.float64, generator=source)


@pytest.mark.parametrize("mean", [0.0, 1e6])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 20), (30, 7), (3, 1, 9, 40), (1,) * 50])
def test_a_sum_is_of_both_however_far_from_zero(mean: float, sizes: tuple[int, ...]) -> None:
    whole = _drawn(sum(sizes), mean)
    got = reduce(plus, [Moments.of(part) for part in whole.split(sizes)])
    _agree(got, whole.numpy(), 1e-7)  # the mean of squares less the squared mean is off by 1e-4


def test_parts_with_other_means_are_spread_between_them() -> None:
    a, b = _drawn(9, mean=-3e3), _drawn(4, mean=1e6, seed=1)
    _agree(Moments.of(a) + Moments.of(b), torch.cat([a, b]).numpy(), 1e-9)


def test_float32_vectors_are_summed_in_float64() -> None:
    states = (_drawn(1000, 1e4)).float()
    _agree(Moments.of(states), states.double().numpy(), 1e-10)


def test_two_vectors_by_hand() -> None:
    got = Moments.of(torch.tensor([[1.0, 2.0], [3.0, 8.0]]))
    assert (got.count, got.mean.tolist()) == (2, [2.0, 5.0])
    assert got.scatter.tolist() == got.covariance.tolist() == [[2.0, 6.0], [6.0, 18.0]]


def test_a_single_vector_has_no_covariance(model: Model) -> None:
    got = moments(model, [[7]], final)[final]
    assert got.count == 1
    assert got.covariance.isnan().all()
    assert got.scatter.eq(0).all()
    assert not (got + got).covariance.isnan().any()


parts = st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=6), min_size=3)


@given(parts.map(lambda lists: lists[:3]))
def test_sums_are_associative_and_commutative(lists: list[list[float]]) -> None:
    a, b, c = (Moments.of(torch.tensor([[x, 1 - x] for x in xs]).double()) for xs in lists)
    _close(a + (b + c), (a + b) + c)
    _close(a + b, b + a)


def _close(a: Moments, b: Moments) -> None:
    assert a.count == b.count
    torch.testing.assert_close(a.mean, b.mean, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(a.scatter, b.scatter, rtol=1e-9, atol=1e-2)  # of up to 1e13
