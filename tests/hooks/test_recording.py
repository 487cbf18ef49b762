"""`record(..., to=path)`: what stands in the file."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import onerow
import tiny
from steer.hooks import (
    DataError,
    Model,
    Recording,
    Site,
    after,
    any_of,
    attn_out,
    embed,
    final,
    heads,
    masked,
    record,
    resid_post,
    router,
)

# Out of order, with duplicates, of unequal length; every row holds a 9 and something after it.
ROWS = [[5, 9, 6], [9, 7], [8, 9, 10, 11, 12, 13, 14], [5, 9, 6], [15, 9, 17], [9, 7]]
PAIRS = [([5, 6, 7], [8, 9]), ([10], [11, 12, 13]), ([5, 6], [7, 8, 9]), ([10], [11, 12, 13])]
SITES = [resid_post(1), router(2), heads(3), attn_out(0), final, embed]
BUDGET = 9  # batches of 1 x 7, 3 x 3 and 1 x 2 tokens


@pytest.fixture
def moe() -> Model:
    return tiny.model("qwen3_moe")


def _by_hand(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return {n: file.get_tensor(n) for n in names}, json.loads(
            file.metadata()["steer_recording"]
        )


@pytest.mark.parametrize("pool", ["last", "mean", "none"])
@pytest.mark.parametrize(
    ("rows", "span"),
    [
        (ROWS, "all"),
        (ROWS, after(9)),
        (ROWS, any_of([9, 12])),
        (PAIRS, "generated"),
        (PAIRS, "prompt"),
    ],
    ids=str,
)
def test_a_file_gives_what_memory_gives(
    moe: Model, tmp_path: Path, rows: Any, span: Any, pool: Any
) -> None:
    options = {"span": span, "pool": pool, "batch_tokens": BUDGET}
    expected = record(moe, rows, SITES, **options)
    got = record(moe, rows, SITES, to=tmp_path / "states.safetensors", **options)
    assert list(got) == list(expected) == SITES
    assert len(got) == len(SITES)
    for site in SITES:
        assert type(got[site]) is type(expected[site])
        for ours, theirs in zip(got[site], expected[site], strict=True):
            assert ours.dtype == torch.float32
            assert torch.equal(ours, theirs)


def _alone(model: Model, row: list[int]) -> dict[Site, Tensor]:
    """`[tokens, d]` of one row alone, by plain hooks on modules named by hand."""
    found: dict[Site, Tensor] = {}
    layers = model.hf.model.layers

    def routing(_: Any, __: Any, out: Any) -> None:
        found[router(2)] = torch.zeros(len(row), 4)
        for token, (weights, experts) in enumerate(zip(out[1], out[2], strict=True)):
            for weight, expert in zip(weights, experts, strict=True):
                found[router(2)][token, int(expert)] = weight

    before = layers[3].self_attn.o_proj.register_forward_pre_hook(
        lambda _, args: found.update({heads(3): args[0][0]})
    )
    behind = layers[2].mlp.gate.register_forward_hook(routing)
    with torch.no_grad():
        out = model.hf(torch.tensor([row]), output_hidden_states=True)
    before.remove()
    behind.remove()
    return found | {resid_post(1): out.hidden_states[2][0]}


HAND_MADE = [heads(3), resid_post(1), router(2)]


def test_all_tokens_stand_row_after_row_with_offsets(moe: Model, tmp_path: Path) -> None:
    path = tmp_path / "states.safetensors"
    record(moe, ROWS, HAND_MADE, pool="none", batch_tokens=BUDGET, to=path)
    tensors, meta = _by_hand(path)
    assert set(tensors) == {"heads.3", "resid_post.1", "router.2", "offsets"}
    assert tensors["offsets"].tolist() == [0, *accumulate(map(len, ROWS))]
    assert tensors["offsets"].dtype == torch.int64
    for site, width in zip(HAND_MADE, (32, 32, 4), strict=True):
        expected = torch.cat([_alone(moe, row)[site] for row in ROWS])
        assert tensors[str(site)].shape == (sum(map(len, ROWS)), width)
        torch.testing.assert_close(tensors[str(site)], expected, rtol=1e-4, atol=1e-4)
    assert meta["sites"] == ["heads.3", "resid_post.1", "router.2"]
    assert (meta["model"], meta["span"], meta["pool"]) == ("tiny-qwen3_moe", "all", "none")


def test_one_state_a_row_needs_no_offsets(moe: Model, tmp_path: Path) -> None:
    path = tmp_path / "states.safetensors"
    record(moe, ROWS, HAND_MADE, span=any_of(9), pool="mean", batch_tokens=BUDGET, to=path)
    tensors, meta = _by_hand(path)
    assert set(tensors) == {"heads.3", "resid_post.1", "router.2"}
    for site in HAND_MADE:
        expected = torch.stack([_alone(moe, row)[site][row.index(9)] for row in ROWS])
        torch.testing.assert_close(tensors[str(site)], expected, rtol=1e-4, atol=1e-4)
    assert (meta["span"], meta["pool"]) == ("any_of(9)", "mean")


def test_only_the_file_is_left_and_it_opens_again(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "states.safetensors"
    got = record(model, ROWS, final, batch_tokens=BUDGET, to=str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["states.safetensors"]
    again = Recording(path)
    assert list(again) == [final]
    assert torch.equal(again[final], got[final])
    with pytest.raises(KeyError):
        again[embed]


def test_tensors_are_mapped_and_not_read(model: Model, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps")
    path = tmp_path / "states.safetensors"
    states = record(model, ROWS, final, to=path)[final]
    ranges = [line.split()[0] for line in maps.read_text().splitlines() if str(path) in line]
    bounds = [[int(end, 16) for end in both.split("-")] for both in ranges]
    first, last = states.data_ptr(), states.data_ptr() + states.nbytes
    assert any(low <= first and last <= high for low, high in bounds)


def test_a_change_of_a_mapped_tensor_does_not_reach_the_file(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "states.safetensors"
    states = record(model, ROWS, final, to=path)[final]
    kept = states.clone()
    states.zero_()
    assert torch.equal(Recording(path)[final], kept)


def test_a_site_named_twice_stands_once(model: Model, tmp_path: Path) -> None:
    got = record(model, ROWS, [final, embed, final], to=tmp_path / "states.safetensors")
    assert list(got) == list(record(model, ROWS, [final, embed, final])) == [final, embed]
    assert len(got) == 2


def test_folders_are_made(model: Model, tmp_path: Path) -> None:
    got = record(model, ROWS, final, to=tmp_path / "new" / "folder" / "states.safetensors")
    assert torch.equal(got[final], record(model, ROWS, final)[final])


def test_half_precision_is_written_in_float32(model: Model, tmp_path: Path) -> None:
    model.hf.bfloat16()
    got = record(model, ROWS, final, to=tmp_path / "states.safetensors")[final]
    assert got.dtype == torch.float32
    assert torch.equal(got, record(model, ROWS, final)[final])


@pytest.mark.parametrize("pool", ["last", "mean", "none"])
def test_a_mask_is_refused(model: Model, tmp_path: Path, pool: Any) -> None:
    mask = masked(torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(DataError, match="^record: a mask belongs to one batch; use capture"):
        record(model, ROWS, final, span=mask, pool=pool, to=tmp_path / "states.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pool", ["last", "none"])
def test_a_span_without_tokens_is_refused(model: Model, tmp_path: Path, pool: Any) -> None:
    with pytest.raises(DataError, match="^record: span generated selects no token of 1 rows$"):
        rows = [([5], [6]), ([5], [])]
        with onerow.unchecked():
            record(model, rows, final, span="generated", pool=pool, to=tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()
