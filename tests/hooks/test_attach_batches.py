"""A row's output is its own: padding, its neighbours and other threads do not touch it."""

import threading
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from steer.hooks import Model, Plan, ablate, add, attach, embed, final, resid_post, resid_pre

ROWS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [15, 16, 17], [18]]
V = tiny.vector()
PLAN: Plan = (
    add(resid_pre(0), V, strength=0.5)
    + ablate(resid_post(1), tiny.vector(1))
    + add(resid_post(1), V, strength=2.0, keep_norm=True)
    + add(resid_post(2), V, span="last")
    + add(final, V, strength=0.3)
    + add(embed, tiny.vector(2), strength=0.2)
)


def _logits(model: Model, rows: list[list[int]], pad: str = "left") -> list[Tensor]:
    """`[tokens, vocab]` of each row, without its padding."""
    batch = model.batch(rows, pad=pad)
    with torch.no_grad():
        logits = model.hf(**batch).logits
    return [out[real] for out, real in zip(logits, batch["attention_mask"].bool(), strict=True)]


@pytest.mark.parametrize("pad", ["left", "right"])
def test_a_padded_row_is_the_row_alone(any_model: Model, pad: str) -> None:
    base = _logits(any_model, ROWS, pad)
    with attach(any_model, PLAN):
        together = _logits(any_model, ROWS, pad)
        alone = [any_model.hf(torch.tensor([row])).logits[0] for row in ROWS]
    for got, expected, plain in zip(together, alone, base, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(got, plain, atol=0.1)


@pytest.mark.parametrize("pad", ["left", "right"])
def test_a_neighbour_changes_nothing(any_model: Model, pad: str) -> None:
    others = [ROWS[0], [20, 21, 22], [23]]  # of the same lengths, so that shapes stay
    with attach(any_model, PLAN):
        first, second = _logits(any_model, ROWS, pad), _logits(any_model, others, pad)
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=1e-6)
    assert not torch.allclose(first[1], second[1], atol=0.1)


_llama = tiny.model()
_row = st.lists(st.integers(3, tiny._COMMON["vocab_size"] - 1), min_size=1, max_size=9)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(_row, st.lists(_row, max_size=4), st.integers(0, 4), st.sampled_from(["left", "right"]))
def test_any_company_changes_nothing(
    row: list[int], others: list[list[int]], at: int, pad: str
) -> None:
    place = min(at, len(others))
    rows = [*others[:place], row, *others[place:]]
    with attach(_llama, PLAN):
        got, alone = _logits(_llama, rows, pad)[place], _logits(_llama, [row])[0]
    torch.testing.assert_close(got, alone, rtol=1e-3, atol=1e-3)


def test_two_threads_steer_two_models() -> None:
    # Both threads stay inside of their blocks until the other one has begun.
    models = [tiny.model(seed=seed) for seed in (0, 1)]
    plans = [add(resid_post(1), V, span="last"), add(resid_post(2), V, span="generated")]
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    prompts = [torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9, 10, 11, 12]])]

    def run(i: int) -> list[int]:
        with attach(models[i], plans[i]):
            barrier.wait(timeout=60)
            out = models[i].hf.generate(prompts[i], **options)[0].tolist()
            barrier.wait(timeout=60)
        return list(out)

    barrier = threading.Barrier(1)
    alone = [run(i) for i in (0, 1)]
    barrier = threading.Barrier(2)
    together: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda i=i: together.update({i: run(i)})) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[0], together[1]] == alone
    assert [tiny.hook_count(model.hf) for model in models] == [0, 0]
