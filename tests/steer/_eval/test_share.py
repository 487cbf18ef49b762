import errno
from typing import Any

import pytest

import two
from steer._eval import _share
from steer._eval._share import Share, device_of, leave, share_of
from steer.hooks import RunError


def test_alone_a_process_does_everything() -> None:
    share = Share()
    assert share.first
    assert share.of([4, 5, 6]) == [4, 5, 6]
    assert share.all([1, 2]) == [1, 2]
    assert share.once(lambda: 7) == 7
    share.wait()


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("world", [2, 3])
def test_the_work_is_divided_without_rest(count: int, world: int) -> None:
    work = list(range(count))
    shares = [Share(rank, world).of(work) for rank in range(world)]
    assert sorted(n for share in shares for n in share) == work
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_each_found_is_known_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    found = two.both(monkeypatch, lambda share: share.all([share.rank] * (1 + share.rank)))
    assert found == [[0, 1, 1], [0, 1, 1]]


def test_once_is_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def run(share: Share) -> int:
        return share.once(lambda: calls.append(share.rank) or 40 + share.rank)

    assert two.both(monkeypatch, run) == [40, 40]
    assert calls == [0]


def test_a_failure_of_the_first_reaches_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RunError("no room")

    found = two.both(monkeypatch, lambda share: share.once(fail))
    assert [(type(error), str(error)) for error in found] == [(RunError, "no room")] * 2


def test_the_others_do_not_wait_for_a_first_that_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "full")

    first, second = two.both(monkeypatch, lambda share: share.once(fail))
    assert isinstance(first, OSError)
    assert isinstance(second, RunError)
    assert "process 0 failed: OSError(28, 'full')" in str(second)


@pytest.mark.parametrize(("rank", "notes"), [(0, []), (1, ["in process 1 of 2, counted from 0"])])
def test_only_others_say_who_they_are(rank: int, notes: list[str]) -> None:
    with pytest.raises(RunError) as caught, Share(rank, 2).alone():
        raise RunError("no room")
    assert getattr(caught.value, "__notes__", []) == notes


@pytest.mark.parametrize("world", [None, "1"])
def test_without_others_nothing_is_joined(monkeypatch: pytest.MonkeyPatch, world: Any) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    assert share_of() == Share(0, 1)
    assert not _share.dist.is_initialized()
    leave()


def test_processes_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=r"^eval: the processes cannot be joined \(.*RANK.*\)$"):
        share_of()


@pytest.mark.parametrize(
    ("device", "world", "count", "found"),
    [
        ("auto", "1", 2, "auto"),
        ("auto", "4", 2, "cuda:1"),
        ("cuda", "4", 8, "cuda:3"),
        ("auto", "4", 0, "auto"),
        ("cpu", "4", 2, "cpu"),
        ("cuda:0", "4", 2, "cuda:0"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str, world: str, count: int, found: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(_share.torch.cuda, "device_count", lambda: count)
    assert device_of(device) == found
