"""Every edit, span and kind of strength survives a file."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import tiny
from steer.hooks import (
    Plan,
    Tokens,
    ablate,
    add,
    affine,
    after,
    any_of,
    clamp,
    embed,
    final,
    first,
    heads,
    mlp_out,
    positions,
    replace,
    resid_post,
    rotate,
    router,
    scale_experts,
)

V = tiny.vector(1)
MATRICES = tiny.vector(2).view(2, 16), tiny.vector(3).view(2, 16)
PLANS = {
    "add": add(resid_post(1), V, keep_norm=True),
    "heads": add(heads(1), V),
    "ablate": ablate(final, V),
    "affine": affine(embed, *MATRICES, tiny.vector(4, 16)),
    "affine without a bias": affine(embed, *MATRICES),
    "clamp": clamp(mlp_out(2), V, low=-0.1, high=1e-9),
    "clamp below": clamp(mlp_out(2), V, high=-0.5),
    "replace": replace(resid_post(1), V),
    "rotate": rotate(resid_post(1), V, -33.3),
    "experts": scale_experts(router(0), {11: 0.0, 2: 64.1}),
}
SPANS = {
    'after("</think> \\"x\\"")': after('</think> "x"'),
    "after(7)": after(7),
    "after(7, 8, 7)": after([7, 8, 7]),
    "any_of(3, 5)": any_of([3, 5]),
    'any_of("no\\nyes é")': any_of("no\nyes é"),
    "first(5)": first(5),
    "positions(-3, null)": positions(-3),
    "positions(null, 4)": positions(stop=4),
    "((prompt & ~last) | ~(image & text))": None,
}


def _again(plan: Plan, folder: Path) -> Plan:
    plan.save(folder / "plan")
    return Plan.load(folder / "plan")


@pytest.mark.parametrize("name", PLANS)
def test_every_edit_survives(tmp_path: Path, name: str) -> None:
    plan = 0.7 * PLANS[name]
    got = _again(plan, tmp_path)
    assert got.hash == plan.hash
    (a,), (b,) = plan, got
    assert type(a.edit) is type(b.edit)
    assert (a.site, a.span, a.strength) == (b.site, b.span, b.strength)
    assert dict(a.edit.options) == dict(b.edit.options)
    states = torch.randn(2, 3, a.edit.width or 16, generator=torch.Generator().manual_seed(0))
    results: list[Tensor] = []
    for item in (a, b):
        bound = item.edit.bind([item.edit], [item.strength], states)
        results.append(bound(states, torch.ones(2, 3, 1).bool()))
    assert torch.equal(*results)
    assert not torch.equal(results[0], states)


def test_a_plan_of_all_edits_keeps_their_order(tmp_path: Path) -> None:
    plan = sum(PLANS.values(), Plan(()))
    got = _again(plan, tmp_path)
    assert got.hash == plan.hash
    assert [i.describe() for i in got] == [i.describe() for i in plan]


def test_the_file_names_each_tensor_by_its_place_and_field(tmp_path: Path) -> None:
    (PLANS["affine"] + PLANS["add"] + PLANS["experts"]).save(tmp_path / "plan")
    with safe_open(tmp_path / "plan", framework="pt") as file:
        names = sorted(file.keys())
        header = json.loads(file.metadata()["steer"])
        assert torch.equal(file.get_tensor("1.vector"), V)
        assert file.get_tensor("2.experts").tolist() == [2, 11]
    assert names == ["0.bias", "0.read", "0.write", "1.vector", "2.experts", "2.factors"]
    assert header["format"] == 2
    assert header["interventions"][1] == {
        "site": "resid_post.1",
        "edit": "add",
        "options": {"keep_norm": True},
        "span": "all",
        "strength": 1.0,
    }


def test_twelve_interventions_keep_their_own_tensors(tmp_path: Path) -> None:
    plan = sum((add(embed, tiny.vector(n)) for n in range(12)), Plan(()))
    got = _again(plan, tmp_path)
    for n, item in enumerate(got):
        assert torch.equal(item.edit.tensors["vector"], tiny.vector(n))


@pytest.mark.parametrize("text", SPANS)
def test_every_span_survives(tmp_path: Path, text: str) -> None:
    plan = add(embed, V, span=text)
    (item,) = _again(plan, tmp_path)
    assert str(item.span) == text
    assert item.span == plan.interventions[0].span
    assert SPANS[text] is None or item.span == SPANS[text]


def test_a_loaded_span_selects_by_hand(tmp_path: Path) -> None:
    plan = add(embed, V, span=(after([7, 8]) & ~positions(5)) | any_of(9))
    (item,) = _again(plan, tmp_path)
    ids = torch.tensor([[9, 7, 8, 1, 7, 8, 9]])
    tokens = Tokens.of_pass((1, 7), ids.device, 0, None, None, ids)
    assert item.span(tokens).int().tolist() == [[1, 0, 0, 1, 1, 0, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("values", [[0.1, -2.0, 0.0], [0.1], 0.1])
def test_a_strength_for_each_row_survives(tmp_path: Path, values: object, dtype: object) -> None:
    assert isinstance(dtype, torch.dtype)
    strength = torch.tensor(values, dtype=dtype, requires_grad=True)
    plan = add(embed, V, strength=strength) + ablate(final, V)
    got = _again(plan, tmp_path)
    assert got.hash == plan.hash
    first_one = got.interventions[0]
    assert first_one.rows == plan.interventions[0].rows
    assert torch.as_tensor(first_one.strength, dtype=dtype).tolist() == strength.tolist()
