import json
from pathlib import Path

import pytest
import torch

import steer
import tiny
from cli import Run
from steer.hooks import add, resid_post

TEXT = "Who is the cat ?"


@pytest.mark.parametrize("method", ["caa", "grains", "repe"])
def test_a_plan_is_written(run: Run, saved: Path, pairs: Path, tmp_path: Path, method: str) -> None:
    out = tmp_path / "new" / "plan.safetensors"
    done = run(
        *("extract", method, "--model", saved, "--pairs", pairs, "--out", out),
        *("--layers", "1,3", "--strength", "0.25", "--device", "cpu", "--quiet"),
    )
    assert done == (0, f"{out}\n", "")
    plan = steer.Plan.load(out)
    assert [(str(i.site), i.strength) for i in plan] == [
        ("resid_post.1", 0.25),
        ("resid_post.3", 0.25),
    ]
    assert plan.meta["method"] == method
    assert plan.meta["model"] == str(saved)
    assert (plan.meta["pairs"], plan.meta["hidden_size"]) == (3, 32)


def test_the_plan_is_that_of_the_library(
    run: Run, saved: Path, pairs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "plan.safetensors"
    run("extract", "caa", "--model", saved, "--pairs", pairs, "--out", out, "--layers", 2)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    plan = steer.caa(tiny.model(), rows, 2)
    loaded = steer.Plan.load(out)
    assert loaded.hash == plan.hash
    model = steer.load(saved, device="cpu")
    ids = torch.tensor([model.token_ids(TEXT)])
    with torch.no_grad(), steer.attach(model, loaded):
        steered = model.hf(ids).logits
    by_hand = add(resid_post(2), plan.vectors[resid_post(2)] / 0.1, strength=0.1, keep_norm=True)
    with torch.no_grad(), steer.attach(model, by_hand):
        torch.testing.assert_close(model.hf(ids).logits, steered)
    assert not torch.equal(steered, tiny.network()(ids).logits)


def test_csv_pairs_and_the_default_layer(run: Run, saved: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "pairs.csv", tmp_path / "plan.safetensors"
    table.write_text('prompt,chosen,rejected\n"Is the sky blue ?",yes it is .,no .\n')
    done = run("extract", "caa", "--model", saved, "--pairs", table, "--out", out, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert steer.Plan.load(out).layers == (2,)  # 60 % of 4 layers, rounded


def test_progress_goes_to_stderr(run: Run, saved: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.safetensors"
    done = run("extract", "caa", "--model", saved, "--pairs", pairs, "--out", out)
    assert (done.code, done.out) == (0, f"{out}\n")
    assert done.err.splitlines()[-1] == ("steer: Plan(caa: add 0.1 at resid_post.2 (all))")


def test_the_seed_is_kept(run: Run, saved: Path, pairs: Path, tmp_path: Path) -> None:
    found = []
    for seed in (0, 7):
        out = tmp_path / f"{seed}.safetensors"
        words = ("--model", saved, "--pairs", pairs, "--out", out, "--seed", seed, "--quiet")
        assert run("extract", "grains", *words).code == 0
        found.append(steer.Plan.load(out))
    assert [plan.meta["seed"] for plan in found] == [0, 7]
    assert found[0].hash == found[1].hash  # the method draws no random number


def test_the_dtype_is_that_of_the_model(run: Run, saved: Path, pairs: Path, tmp_path: Path) -> None:
    hashes = []
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / f"{dtype}.safetensors"
        words = ("--model", saved, "--pairs", pairs, "--out", out, "--dtype", dtype, "--quiet")
        assert run("extract", "caa", *words).code == 0
        hashes.append(steer.Plan.load(out).hash)
    assert hashes[0] != hashes[1]
