"""`record(..., to=path)`: interrupted, and gone on with."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from steer.hooks import Model, final, record, resid_post

ROWS = [[5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 6], [15, 16, 17], [7], [18, 19, 20, 21, 22]]
SITES = [resid_post(1), final]
OPTIONS: dict[str, Any] = {"pool": "none", "batch_tokens": 7}
PASSES = 4  # of 1 x 7, 1 x 5, 2 x 3 and 1 x 1 tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "states.safetensors"


def _part(path: Path) -> Path:
    return path.with_name("states.safetensors.part")


@contextmanager
def _passes(model: Model, stop_in: int | None = None) -> Iterator[list[int]]:
    """The tokens of each pass by a plain hook; a pass may be interrupted in its third layer."""
    seen: list[int] = []

    def start(_: Any, args: Any) -> None:
        seen.append(args[0].numel())

    def stop(_: Any, __: Any) -> None:
        if len(seen) == stop_in:
            raise KeyboardInterrupt

    handles = [
        model.hf.model.embed_tokens.register_forward_pre_hook(start),
        model.hf.model.layers[2].register_forward_pre_hook(stop),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _interrupted(model: Model, path: Path, batch: int = 3) -> None:
    with _passes(model, stop_in=batch), pytest.raises(KeyboardInterrupt):
        record(model, ROWS, SITES, to=path, **OPTIONS)


def _whole(model: Model, path: Path) -> bytes:
    other = path.with_name("whole.safetensors")
    record(model, ROWS, SITES, to=other, **OPTIONS)
    return other.read_bytes()


@pytest.mark.parametrize("pool", ["last", "mean", "none"])
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_an_interrupted_recording_goes_on(model: Model, path: Path, pool: Any, batch: int) -> None:
    options = OPTIONS | {"pool": pool}
    with _passes(model, stop_in=batch), pytest.raises(KeyboardInterrupt):
        record(model, ROWS, SITES, to=path, **options)
    assert not path.exists()
    assert _part(path).exists()
    assert tiny.hook_count(model.hf) == 0
    with _passes(model) as seen:
        got = record(model, ROWS, SITES, to=path, **options)
    assert seen == [7, 5, 6, 1][batch - 1 :]
    assert list(path.parent.iterdir()) == [path]
    whole = record(model, ROWS, SITES, to=path.with_name("whole.safetensors"), **options)
    assert path.read_bytes() == whole.path.read_bytes()
    for site, states in record(model, ROWS, SITES, **options).items():
        assert all(torch.equal(a, b) for a, b in zip(got[site], states, strict=True))


def test_two_interruptions_are_no_more_than_one(model: Model, path: Path) -> None:
    _interrupted(model, path, 2)
    _interrupted(model, path, 2)  # the second of those that were left
    with _passes(model) as seen:
        record(model, ROWS, SITES, to=path, **OPTIONS)
    assert seen == [6, 1]
    assert path.read_bytes() == _whole(model, path)


KILLED = f"""
import os, signal, sys, torch, tiny
from steer.hooks import final, record, resid_post
torch.set_num_threads(1)
model, seen = tiny.model(), []
def kill(_, args):
    seen.append(args)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
model.hf.model.layers[1].register_forward_pre_hook(kill)
record(model, {ROWS}, [resid_post(1), final], pool="none", batch_tokens=7, to=sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_recording_goes_on(model: Model, path: Path) -> None:
    helpers = str(Path(tiny.__file__).parent)
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        env=os.environ | {"PYTHONPATH": helpers},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert _part(path).exists()
    with _passes(model) as seen:
        record(model, ROWS, SITES, to=path, **OPTIONS)
    assert seen == [6, 1]
    assert path.read_bytes() == _whole(model, path)


def test_a_finished_file_runs_nothing(model: Model, path: Path) -> None:
    first = record(model, ROWS, SITES, to=path, **OPTIONS)
    with _passes(model) as seen:
        again = record(model, ROWS, SITES, to=path, **OPTIONS)
    assert seen == []
    for site in SITES:
        assert all(torch.equal(a, b) for a, b in zip(again[site], first[site], strict=True))


def test_a_part_removed_by_hand_begins_anew(model: Model, path: Path) -> None:
    _interrupted(model, path)
    _part(path).unlink()
    _interrupted(model, path, 1)
    with _passes(model) as seen:
        record(model, ROWS, SITES, to=path, **OPTIONS)
    assert len(seen) == PASSES
    assert path.read_bytes() == _whole(model, path)
