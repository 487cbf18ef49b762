"""`record(..., to=path)`: files that hold something else, or nothing that can be read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import tiny
from steer.hooks import (
    DataError,
    Model,
    Recording,
    SiteError,
    add,
    attach,
    final,
    record,
    resid_post,
)

ROWS = [[5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 6], [15, 16, 17], [7], [18, 19, 20, 21, 22]]
SITES = [resid_post(1), final]
OPTIONS: dict[str, Any] = {"pool": "none", "batch_tokens": 7}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "states.safetensors"


def _part(path: Path) -> Path:
    return path.with_name("states.safetensors.part")


def _notes(path: Path) -> Path:
    return path.with_name("states.safetensors.progress.json")


def _interrupted(model: Model, path: Path) -> None:
    """Two of four batches."""
    passes: list[int] = []

    def stop(*_: Any) -> None:
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt

    handle = model.hf.model.layers[2].register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        record(model, ROWS, SITES, to=path, **OPTIONS)
    handle.remove()


def _whole(model: Model, path: Path) -> bytes:
    other = path.with_name("whole.safetensors")
    record(model, ROWS, SITES, to=other, **OPTIONS)
    return other.read_bytes()


def _other(**changes: Any) -> Callable[[Path], None]:
    def call(path: Path) -> None:
        given = {"rows": ROWS, "sites": SITES, "model": tiny.model(), **OPTIONS} | changes
        record(given.pop("model"), given.pop("rows"), given.pop("sites"), to=path, **given)

    return call


def _steered(strength: float) -> Callable[[Path], None]:
    def call(path: Path) -> None:
        model = tiny.model()
        with attach(model, add(resid_post(0), tiny.vector(), strength=strength)):
            record(model, ROWS, SITES, to=path, **OPTIONS)

    return call


def _half(path: Path) -> None:
    _other(model=Model(tiny.network().bfloat16(), tiny.tokenizer(), name="tiny-llama"))(path)


OTHERS: dict[str, Callable[[Path], None]] = {
    "model": _other(model=tiny.model("gemma3")),
    "weights": _other(model=tiny.model(seed=1)),  # called tiny-llama as well
    "dtype": _half,
    "rows": _other(rows=[*ROWS[:-1], [18, 19, 20, 21, 23]]),
    "order": _other(rows=ROWS[::-1]),
    "sites": _other(sites=[final]),
    "span": _other(span="last"),
    "pool": _other(pool="mean"),
    "plan": _steered(1.0),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_finished_file_of_other_states_is_refused(model: Model, path: Path, other: str) -> None:
    record(model, ROWS, SITES, to=path, **OPTIONS)
    kept = path.read_bytes()
    with pytest.raises(DataError, match="^record: .*states.safetensors holds other states; name"):
        OTHERS[other](path)
    assert path.read_bytes() == kept


@pytest.mark.parametrize("other", OTHERS)
def test_an_unfinished_file_of_other_states_is_refused(
    model: Model, path: Path, other: str
) -> None:
    _interrupted(model, path)
    message = "^record: .*states.safetensors.part is an unfinished recording of other states; remov"
    with pytest.raises(DataError, match=message):
        OTHERS[other](path)
    record(model, ROWS, SITES, to=path, **OPTIONS)
    assert path.read_bytes() == _whole(model, path)


def test_a_file_of_a_plan_is_no_file_of_another_or_of_none(model: Model, path: Path) -> None:
    _steered(1.0)(path)
    _steered(1.0)(path)
    for other in (_steered(0.5), _other()):
        with pytest.raises(DataError, match="holds other states"):
            other(path)


def test_a_site_that_is_not_there_leaves_no_file(model: Model, path: Path) -> None:
    with pytest.raises(SiteError, match=r"^site resid_post.9: the model has 4 layers"):
        record(model, ROWS, resid_post(9), to=path)
    assert not list(path.parent.iterdir())


def _damage(path: Path, how: str) -> None:
    if how == "garbage":
        path.write_bytes(b"no safetensors at all")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "tensors":
        save_file({"final": torch.zeros(7, 32)}, path)
    else:
        path.unlink(missing_ok=True)
        path.mkdir()


@pytest.mark.parametrize("how", ["garbage", "cut", "empty", "tensors", "folder"])
def test_what_is_no_recording_is_refused(model: Model, path: Path, how: str) -> None:
    record(model, ROWS, SITES, to=path, **OPTIONS)
    _damage(path, how)
    for read in (lambda: record(model, ROWS, SITES, to=path, **OPTIONS), lambda: Recording(path)):
        with pytest.raises(DataError, match="states.safetensors is no recording"):
            read()


def test_a_missing_recording_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match="states.safetensors is no recording"):
        Recording(path)


@pytest.mark.parametrize("how", ["garbage", "cut", "empty"])
def test_a_broken_part_is_refused_or_made_anew(model: Model, path: Path, how: str) -> None:
    _interrupted(model, path)
    _damage(_part(path), how)
    try:
        record(model, ROWS, SITES, to=path, **OPTIONS)
    except DataError as error:
        assert ".part" in str(error)  # noqa: PT017
    else:
        assert path.read_bytes() == _whole(model, path)


def test_broken_notes_are_refused(model: Model, path: Path) -> None:
    _interrupted(model, path)
    assert json.loads(_notes(path).read_text())["done"] == 2
    _notes(path).write_text("{")
    with pytest.raises(DataError, match="progress.json"):
        record(model, ROWS, SITES, to=path, **OPTIONS)
