"""What one thread does to its model, and says of its prompts, is no other thread's business."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
from steer.hooks import (
    Model,
    Plan,
    ablate,
    add,
    after,
    attach,
    mlp_out,
    prompts,
    record,
    resid_post,
)

GREEDY: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
SHORT = torch.tensor([[5, 6, 7]])
LONG = torch.tensor([[8, 9, 10, 11, 12], [13, 14, 15, 16, 17]])
V = tiny.vector()
Meet = Callable[[], object]
Run = Callable[[Meet], Any]


def _together(*runs: Run) -> list[Any]:
    """What each run gives in a thread of its own; `meet` waits until all others have come there."""
    barrier = threading.Barrier(len(runs))
    results: dict[int, Any] = {}

    def work(n: int) -> None:
        try:
            results[n] = runs[n](lambda: barrier.wait(timeout=30))
        except BaseException as error:
            barrier.abort()
            results[n] = error

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in results.values():
        if isinstance(error, Exception) and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [results[n] for n in range(len(runs))]


def _alone(run: Run) -> Any:
    return run(lambda: None)


def _logits(model: Model, ids: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = model.hf(ids).logits
    return out


def _outputs(model: Model, ids: Tensor) -> list[Any]:
    return [_logits(model, ids).tolist(), model.hf.generate(ids, **GREEDY).tolist()]


def _meeting_in(module: nn.Module, meet: Meet) -> Any:
    """Let others work in the middle of each pass."""

    def hook(*_: Any) -> None:
        meet()
        meet()

    return module.register_forward_pre_hook(hook)


def _steering(model: Model, plan: Plan | None, ids: Tensor) -> Run:
    def run(meet: Meet) -> list[Any]:
        meet()
        with attach(model, plan):
            meet()
            out = _outputs(model, ids)
            meet()
        meet()
        return out

    return run


PLANS: list[tuple[Plan, Plan | None]] = [
    (add(resid_post(1), V, span="last"), ablate(resid_post(2), V, span="generated")),
    (add(mlp_out(1), V, span=after([6])), add(resid_post(1), V, keep_norm=True, span=after(9))),
    (add(resid_post(1), V, span="generated"), None),
]


@pytest.mark.parametrize("plans", PLANS)
def test_threads_steer_models_of_their_own(plans: tuple[Plan, Plan | None]) -> None:
    models = [tiny.model(seed=seed) for seed in (0, 1)]
    clean = [_outputs(m, ids) for m, ids in zip(models, (SHORT, LONG), strict=True)]
    runs = [
        _steering(model, plan, ids)
        for model, plan, ids in zip(models, plans, (SHORT, LONG), strict=True)
    ]
    alone = [_alone(run) for run in runs]
    for _ in range(3):
        assert _together(*runs) == alone
    assert [a != c for a, c in zip(alone, clean, strict=True)] == [
        plan is not None for plan in plans
    ]
    assert [tiny.hook_count(m.hf) for m in models] == [0, 0]
    assert [_outputs(m, ids) for m, ids in zip(models, (SHORT, LONG), strict=True)] == clean


def test_blocks_of_two_threads_may_cross() -> None:
    models = [tiny.model(seed=seed) for seed in (0, 1)]
    plan = add(resid_post(1), V, span="last")
    expected = [_alone(_steering(m, plan, SHORT)) for m in models]
    clean = [_outputs(m, SHORT) for m in models]

    def first(meet: Meet) -> list[Any]:
        with attach(models[0], plan):
            meet()  # the other enters
            meet()
        out = _outputs(models[0], SHORT)
        meet()  # left, while the other is still inside
        return out

    def second(meet: Meet) -> list[Any]:
        meet()
        with attach(models[1], plan):
            meet()
            meet()
            return _outputs(models[1], SHORT)

    assert _together(first, second) == [clean[0], expected[1]]
    assert [tiny.hook_count(m.hf) for m in models] == [0, 0]


def test_what_a_thread_says_of_its_prompts_stays_there() -> None:
    models = [tiny.model(seed=seed) for seed in (0, 1)]
    plan = add(resid_post(1), V, span="last")
    with attach(models[1], plan):
        untold = _logits(models[1], LONG)
        with prompts([2, 2]):
            told = _logits(models[1], LONG)
    assert not torch.allclose(untold, told, atol=0.1)

    def teller(meet: Meet) -> Tensor:
        with attach(models[0], plan), prompts([2]):
            meet()
            out = _logits(models[0], SHORT)
            meet()
        return out

    def other(meet: Meet) -> Tensor:
        meet()
        with attach(models[1], plan):
            out = _logits(models[1], LONG)
        meet()
        return out

    got = _together(teller, other)
    assert torch.equal(got[0], _alone(teller))
    assert torch.equal(got[1], untold)


def test_a_thread_that_is_started_inside_of_prompts_knows_nothing_of_them() -> None:
    model = tiny.model()
    with attach(model, add(resid_post(1), V, span="last")):
        untold = _logits(model, SHORT)
        with prompts([1]):
            told = _logits(model, SHORT)
            (got,) = _together(lambda meet: _logits(model, SHORT))
            assert torch.equal(_logits(model, SHORT), told)
    assert torch.equal(got, untold)
    assert not torch.allclose(told, untold, atol=0.1)


def test_what_generate_says_of_its_prompts_stays_in_its_thread() -> None:
    models = [tiny.model(seed=seed) for seed in (0, 1)]
    plan = add(resid_post(1), V, span="generated")
    clean = _logits(models[1], LONG)  # a pass with an empty cache is all prompt

    def generating(meet: Meet) -> list[list[int]]:
        handle = _meeting_in(models[0].hf.model.layers[2], meet)
        with attach(models[0], plan):
            tokens: list[list[int]] = models[0].hf.generate(SHORT, **GREEDY).tolist()
        handle.remove()
        return tokens

    def passing(meet: Meet) -> list[Tensor]:
        outs = []
        with attach(models[1], plan):
            for _ in range(GREEDY["max_new_tokens"]):  # passes of the other thread
                meet()
                outs.append(_logits(models[1], LONG))
                meet()
        return outs

    tokens, outs = _together(generating, passing)
    assert tokens == _alone(generating)
    assert len(outs) == 5
    assert all(torch.equal(out, clean) for out in outs)


def test_a_thread_reads_its_model_while_another_steers() -> None:
    models = [tiny.model(seed=seed) for seed in (0, 1)]
    texts = ["the sky is", "What is the big old sea ?"]
    sites = [resid_post(1), mlp_out(2)]
    expected = record(models[1], texts, sites)

    def reading(meet: Meet) -> Any:
        meet()
        read = record(models[1], texts, sites)
        meet()
        return read

    def steering(meet: Meet) -> list[Any]:
        with attach(models[0], add(resid_post(1), V, span="last")):
            meet()
            out = _outputs(models[0], SHORT)
            meet()
        return out

    read, out = _together(reading, steering)
    assert out == _alone(steering)
    for site in sites:
        assert torch.equal(read[site], expected[site])


def test_models_are_wrapped_for_the_first_time_in_two_threads() -> None:
    networks = [tiny.network(seed=seed) for seed in (0, 1)]

    def wrapping(n: int) -> Run:
        def run(meet: Meet) -> Any:
            meet()
            return Model(networks[n]).findings

        return run

    found = _together(wrapping(0), wrapping(1))
    for n in (0, 1):
        assert found[n].unchecked is None
        assert found[n].widths == Model(tiny.network(seed=n)).findings.widths
