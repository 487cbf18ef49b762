import weakref
from collections.abc import Callable, Sequence

import pytest
import torch

import scored
import tiny
from scored import CHOICES, HEAD, PROMPTS
from steer._scoring import Asked, answers, compare, primed, score_choices
from steer._scoring._halving import halving
from steer._scoring._rowwise import score_rowwise
from steer.hooks import Model, RunError, attach


def _cuda(_: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 0.")


def _cpu(rows: int) -> None:
    torch.empty(rows << 50)  # the allocator itself refuses: no machine has a petabyte


def _short(_: int) -> None:
    raise torch.OutOfMemoryError("no more")


@pytest.mark.parametrize("fail", [_cuda, _cpu, _short])
def test_every_row_is_done_once_and_in_order(fail: Callable[[int], None]) -> None:
    tried: list[int] = []
    done: list[str] = []

    def run(group: Sequence[str]) -> None:
        tried.append(len(group))
        if len(group) > 3:
            fail(len(group))
        done.extend(group)

    rows = list("abcdefghijk")
    halving(run, rows)
    assert done == rows
    # 11 = 5 + 6 = (2 + 3) + (3 + 3)
    assert tried == [11, 5, 2, 3, 6, 3, 3]


def test_rows_that_fit_are_run_together() -> None:
    tried = []
    halving(lambda group: tried.append(list(group)), [1, 2, 3])
    assert tried == [[1, 2, 3]]


@pytest.mark.parametrize("fail", [_cuda, _cpu])
def test_a_single_row_that_does_not_fit_is_an_error(fail: Callable[[int], None]) -> None:
    tried = []

    def run(group: Sequence[int]) -> None:
        tried.append(list(group))
        fail(len(group))

    with pytest.raises(RunError, match="^out of memory with a batch of one row; use a smaller"):
        halving(run, [7, 8, 9])
    assert tried == [[7, 8, 9], [7]]


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("size mismatch")])
def test_other_errors_pass_through(error: Exception) -> None:
    tried = []

    def run(group: Sequence[int]) -> None:
        tried.append(len(group))
        raise error

    with pytest.raises(type(error)) as caught:
        halving(run, [1, 2])
    assert caught.value is error
    assert tried == [2]


def test_what_the_failed_call_held_is_gone_before_the_cache_is_cleared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []
    clear = "steer._scoring._halving.clear_device_cache"
    monkeypatch.setattr(clear, lambda **_: alive.append(held[0]() is not None))

    def run(group: Sequence[int]) -> None:
        big = torch.zeros(3)
        held.append(weakref.ref(big))
        if len(group) > 1:
            _cuda(1)

    halving(run, [1, 2])
    assert alive == [False]


@pytest.fixture
def uncleared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the collections of garbage, which take most of the time with tiny models."""
    monkeypatch.setattr("steer._scoring._halving.clear_device_cache", lambda **_: None)


@pytest.mark.usefixtures("uncleared")
@pytest.mark.parametrize("rows", [1, 2])
def test_choices_score_the_same_with_little_memory(any_model: Model, rows: int) -> None:
    with attach(any_model, scored.plan("generated")):
        expected = score_choices(any_model, PROMPTS, CHOICES)
        with scored.little_memory(any_model, rows) as seen:
            found = score_choices(any_model, PROMPTS, CHOICES)
        by_row = score_rowwise(any_model, PROMPTS, CHOICES, batch_tokens=1024)
        with scored.little_memory(any_model, rows) as seen_by_row:
            found_by_row = score_rowwise(any_model, PROMPTS, CHOICES, batch_tokens=1024)
    assert min(max(seen), max(seen_by_row)) > rows
    scored.close(found, expected)
    scored.close(found_by_row, by_row)


@pytest.mark.usefixtures("uncleared")
def test_choices_after_a_primer_score_the_same_with_little_memory(model: Model) -> None:
    prompts = [[*HEAD, *prompt] for prompt in PROMPTS]
    with attach(model, scored.plan("all")):
        primer = primed(model, HEAD, 42)
        expected = score_choices(model, prompts, CHOICES, primer=primer)
        with scored.little_memory(model, 1) as seen:
            found = score_choices(model, prompts, CHOICES, primer=primer)
    assert max(seen) > 1
    scored.close(found, expected)


@pytest.mark.usefixtures("uncleared")
@pytest.mark.parametrize("rows", [1, 2])
def test_answers_are_the_same_with_little_memory(any_model: Model, rows: int) -> None:
    asked = [Asked("What is the sky ?"), Asked("the"), Asked("Who was in Paris or London")]
    plans = [None, scored.plan("all"), scored.plan("generated")]
    expected = answers(any_model, asked, plans, max_new_tokens=5)
    hooks = tiny.hook_count(any_model.hf)
    with scored.little_memory(any_model, rows) as seen:
        found = answers(any_model, asked, plans, max_new_tokens=5)
    assert seen[0] == 9
    assert found == expected
    assert tiny.hook_count(any_model.hf) == hooks


@pytest.mark.usefixtures("uncleared")
def test_answers_are_the_same_when_memory_runs_out_in_the_midst_of_them(model: Model) -> None:
    asked = [Asked("What is the sky ?"), Asked("the"), Asked("Who was in Paris or London")]
    plans = [scored.plan("generated"), None]
    expected = answers(model, asked, plans, max_new_tokens=5)
    passes = 0

    def hook(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 4:
            _cuda(1)

    handle = model.anatomy.layers[2].register_forward_hook(hook)
    found = answers(model, asked, plans, max_new_tokens=5)
    handle.remove()
    assert passes == 4 + 5 + 5
    assert found == expected


@pytest.mark.usefixtures("uncleared")
def test_texts_compare_the_same_with_little_memory(model: Model) -> None:
    texts = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16]]
    plans = {"none": None, "all": scored.plan("all")}
    expected = compare(model, texts, plans)
    with scored.little_memory(model, 1) as seen:
        found = compare(model, texts, plans)
    assert seen[0] == 3
    for name, rows in expected.items():
        for row, same in zip(rows, found[name], strict=True):
            assert tuple(same) == pytest.approx(tuple(row), abs=1e-4)


@pytest.mark.usefixtures("uncleared")
def test_without_memory_for_one_row_nothing_is_scored(model: Model) -> None:
    score_choices(model, PROMPTS, CHOICES)
    with scored.little_memory(model, 0), pytest.raises(RunError, match="a batch of one row"):
        score_choices(model, PROMPTS, CHOICES)
    hooks = tiny.hook_count(model.hf)
    with scored.little_memory(model, 0), pytest.raises(RunError, match="a batch of one row"):
        answers(model, [Asked("the")], [scored.plan("all")])
    assert tiny.hook_count(model.hf) == hooks
