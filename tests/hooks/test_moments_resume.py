"""`moments(..., to=path)`: interruptions, and files that hold something else."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import tiny
from steer.hooks import (
    DataError,
    Model,
    Moments,
    Site,
    SiteError,
    add,
    attach,
    final,
    masked,
    moments,
    record,
    resid_post,
)

ROWS = [[5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 6], [15, 16, 17], [7], [18, 19, 20, 21, 22]]
SITES = [resid_post(1), final]
PASSES = [7, 5, 6, 6]  # longest first: 1 x 7, 1 x 5, 2 x 3 and 3 x 2; equal rows run twice


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moments.safetensors"


def _gather(model: Model, path: Path | None, **changes: Any) -> dict[Site, Moments]:
    options = {"rows": ROWS, "sites": SITES, "batch_tokens": 7, "to": path} | changes
    return moments(model, options.pop("rows"), options.pop("sites"), **options)


@contextmanager
def _passes(
    model: Model, at: int = 0, act: Callable[[], None] | None = None
) -> Iterator[list[int]]:
    """The tokens of each pass by a plain hook, which may do something in one of them."""
    seen: list[int] = []

    def hook(_: Any, args: Any) -> None:
        seen.append(args[0].numel())
        if act is not None and len(seen) == at:
            act()

    handle = model.hf.model.embed_tokens.register_forward_pre_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _done(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int(json.loads(file.metadata()["steer_moments"])["done"])


def _same(a: dict[Site, Moments], b: dict[Site, Moments]) -> bool:
    return list(a) == list(b) and all(
        a[site].count == b[site].count
        and torch.equal(a[site].mean, b[site].mean)
        and torch.equal(a[site].scatter, b[site].scatter)
        for site in a
    )


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_interrupted_moments_go_on(model: Model, path: Path, batch: int) -> None:
    with _passes(model, batch, _interrupt), pytest.raises(KeyboardInterrupt):
        _gather(model, path)
    assert _done(path) == batch - 1
    with _passes(model) as seen:
        got = _gather(model, path)
    assert seen == PASSES[batch - 1 :]
    assert _same(got, _gather(model, None))
    assert tiny.hook_count(model.hf) == 0


def test_what_is_interrupted_at_once_leaves_no_file(model: Model, path: Path) -> None:
    with _passes(model, 1, _interrupt), pytest.raises(KeyboardInterrupt):
        _gather(model, path)
    assert not list(path.parent.iterdir())


def test_the_file_is_written_while_it_is_filled(
    model: Model, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steer.hooks._moments._EVERY", -1.0)
    held: list[int] = []
    with _passes(model, 3, lambda: held.append(_done(path))):
        _gather(model, path)
    assert held == [2]


def test_a_finished_file_runs_nothing(model: Model, path: Path) -> None:
    first = _gather(model, path)
    with _passes(model) as seen:
        again = _gather(model, path)
    assert seen == []
    assert _same(first, again)
    assert list(path.parent.iterdir()) == [path]


def test_the_file_holds_the_moments(model: Model, path: Path) -> None:
    got = _gather(model, path)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {f"{s}/{n}" for s in SITES for n in ("mean", "scatter")}
        assert torch.equal(file.get_tensor("final/mean"), got[final].mean)
        assert torch.equal(file.get_tensor("final/scatter"), got[final].scatter)
        held = json.loads(file.metadata()["steer_moments"])
    assert held["counts"] == {"resid_post.1": 21, "final": 21}


OTHERS: dict[str, dict[str, Any]] = {
    "rows": {"rows": ROWS[1:]},
    "sites": {"sites": [final]},
    "span": {"span": "last"},
    "pool": {"pool": "last"},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("finished", [True, False])
def test_other_moments_are_refused(model: Model, path: Path, other: str, finished: bool) -> None:
    if finished:
        _gather(model, path)
    else:
        with _passes(model, 3, _interrupt), pytest.raises(KeyboardInterrupt):
            _gather(model, path)
    kept = path.read_bytes()
    with pytest.raises(DataError, match="^moments: .*moments.safetensors holds other states; name"):
        _gather(model, path, **OTHERS[other])
    assert path.read_bytes() == kept


@pytest.mark.parametrize("other", ["gemma3", "seed 1", "plan"])
def test_moments_of_another_model_are_refused(model: Model, path: Path, other: str) -> None:
    _gather(model, path)
    models = {"gemma3": tiny.model("gemma3"), "seed 1": tiny.model(seed=1), "plan": model}
    plan = add(resid_post(0), tiny.vector()) if other == "plan" else None
    with attach(models[other], plan), pytest.raises(DataError, match="holds other states"):
        _gather(models[other], path)


@pytest.mark.parametrize("how", ["garbage", "empty", "tensors", "recording", "folder"])
def test_what_holds_no_moments_is_refused(model: Model, path: Path, how: str) -> None:
    if how == "folder":
        path.mkdir()
    elif how == "tensors":
        save_file({"final/mean": torch.zeros(32)}, path)
    elif how == "recording":
        record(model, ROWS, final, to=path)
    else:
        path.write_bytes(b"no safetensors" if how == "garbage" else b"")
    with pytest.raises(DataError, match="^moments: .*moments.safetensors holds no moments"):
        _gather(model, path)


def test_folders_are_made(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "moments.safetensors"
    _gather(model, path)
    assert _done(path) == len(PASSES)


def test_what_cannot_be_gathered_is_refused(model: Model, path: Path) -> None:
    mask = masked(torch.ones(7, 7, dtype=torch.bool))
    for changes, message in (
        ({"rows": []}, "no rows given$"),
        ({"rows": [[5], []]}, "expected rows of at least one token each"),
        ({"span": "generated"}, "span generated selects no token of 1 rows$"),
        ({"span": mask}, "a mask belongs to one batch"),
    ):
        with pytest.raises(DataError, match=message):
            _gather(model, path, **changes)
    with pytest.raises(SiteError, match=r"^site resid_post.9: the model has 4 layers"):
        _gather(model, path, sites=[resid_post(9)])
    assert not list(path.parent.iterdir())
