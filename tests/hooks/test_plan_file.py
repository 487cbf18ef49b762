import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import onerow
import tiny
from steer.hooks import LAST, Plan, PlanError, ablate, add, embed, final, masked, resid_post

META = {
    "method": "grains",
    "model": "tiny-llama",
    "hidden_size": 32,
    "layers": [1, 3],
    "note": "naïve\n“quoted”",
    "nested": {"loss": 0.1, "none": None, "yes": True},
}


def _plan() -> Plan:
    plan = (
        add(resid_post(1), tiny.vector(1) * 1e-20, strength=0.1, span="prompt")
        + add(embed, tiny.vector(2), strength=-3.0, span="last", keep_norm=True)
        + ablate(final, tiny.vector(3), strength=1e-9, span="generated")
    )
    return Plan(plan.interventions, META)


PLAN = _plan()


def test_a_saved_plan_loads_exactly(tmp_path: Path) -> None:
    plan = _plan()
    plan.save(tmp_path / "plan.safetensors")
    got = Plan.load(tmp_path / "plan.safetensors")
    assert got.hash == plan.hash
    assert dict(got.meta) == META
    assert [i.describe() for i in got] == [i.describe() for i in plan]
    assert [type(i.edit) for i in got] == [type(i.edit) for i in plan]
    for a, b in zip(got, plan, strict=True):
        assert torch.equal(a.edit.vector, b.edit.vector)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN + PLAN,
        2.0 * PLAN + PLAN.only(1),
        Plan(()),
        add(embed, tiny.vector().requires_grad_()),
    ],
    ids=["twice", "shared", "empty", "learnt"],
)
def test_every_kind_of_plan_can_be_saved(tmp_path: Path, plan: Plan) -> None:
    plan.save(str(tmp_path / "new" / "folder" / "plan"))
    assert Plan.load(str(tmp_path / "new" / "folder" / "plan")).hash == plan.hash
    assert os.listdir(tmp_path / "new" / "folder") == ["plan"]


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_bytes(b"something else")
    _plan().save(path)
    (2.0 * _plan()).save(path)
    assert Plan.load(path).hash == (2.0 * _plan()).hash
    assert os.listdir(tmp_path) == ["plan"]


@pytest.mark.parametrize("step", ["chmod", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    path = tmp_path / "plan"
    _plan().save(path)
    monkeypatch.setattr(os, step, fail)
    expected = PlanError if isinstance(error, OSError) else KeyboardInterrupt
    message = f"^Plan.save: cannot write {path}: disk full$" if expected is PlanError else "^$"
    with pytest.raises(expected, match=message):
        (2.0 * _plan()).save(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["plan"]
    assert Plan.load(path).hash == _plan().hash


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=f"^Plan.save: cannot write {tmp_path}: "):
        _plan().save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_meta_that_is_not_json_is_refused(tmp_path: Path) -> None:
    plan = Plan(_plan().interventions, {"when": object()})
    with pytest.raises(PlanError, match=r"^Plan.save: meta is not JSON .*object is not JSON"):
        plan.save(tmp_path / "plan")
    assert os.listdir(tmp_path) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = f"^Plan.load: no file {tmp_path / 'none'}; `steer extract` makes one$"
    with pytest.raises(PlanError, match=message):
        Plan.load(tmp_path / "none")
    with pytest.raises(PlanError, match=r"^Plan.load: no file"):
        Plan.load(tmp_path)


def _write(
    path: Path, vector: torch.Tensor, header: dict[str, Any] | None = None, **entry: Any
) -> None:
    """A file as another program might have written it."""
    item = {
        "site": "resid_post.1",
        "edit": "add",
        "options": {"keep_norm": False},
        "span": "all",
        "strength": 1.0,
    }
    whole = {"format": 2, "interventions": [item | entry], "meta": {}} | (header or {})
    save_file({"0.vector": vector}, path, metadata={"steer": json.dumps(whole)})


def test_a_file_written_by_hand_is_read(tmp_path: Path) -> None:
    _write(tmp_path / "plan", tiny.vector())
    assert Plan.load(tmp_path / "plan").hash == add(resid_post(1), tiny.vector()).hash


@pytest.mark.parametrize("content", [b"", b"not a plan", b"\xff" * 64, b"{}" * 100])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan").write_bytes(content)
    with pytest.raises(PlanError, match=f"^Plan.load: {tmp_path / 'plan'} is not a plan of steer"):
        Plan.load(tmp_path / "plan")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"steer": "{"}, {"steer": "[1]"}])
def test_other_tensors_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"0": tiny.vector()}, tmp_path / "plan", metadata=metadata)
    with pytest.raises(PlanError, match="is not a plan of steer"):
        Plan.load(tmp_path / "plan")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"edit": "turn"},
            "^Plan.load: unknown edit 'turn'; expected "
            "ablate, add, affine, clamp, replace, rotate, scale_experts$",
        ),
        ({"edit": "replace"}, "is not a plan of steer .TypeError: .*keep_norm"),
        ({"edit": "scale_experts"}, "is not a plan of steer .KeyError: 'experts'"),
        ({"site": "router.1"}, "^add at router.1: routing weights are edited by scale_experts"),
        ({"site": "layer.3"}, "is not a plan of steer .SiteError: Site: unknown kind 'layer'"),
        ({"span": "end"}, "^Span: unknown span 'end'"),
        ({"span": "print(1)"}, r"^Span: cannot read 'print\(1\)'; write a name"),
        ({"span": "<mask>"}, "^Span: cannot read '<mask>'; write a name"),
        ({"strength": []}, r"^strength at resid_post.1: expected a number or floats of shape"),
        ({"strength": [1.0, float("inf")]}, r"^strength at resid_post.1: expected finite numbers"),
        ({"strength": "2"}, "^strength at resid_post.1: expected a number, got str$"),
        (
            {"strength": float("nan")},
            "^strength at resid_post.1: expected a finite number, got nan$",
        ),
        ({"options": {"keep": True}}, "is not a plan of steer .TypeError: .*keep"),
    ],
)
def test_a_broken_entry_is_refused(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    _write(tmp_path / "plan", tiny.vector(), **entry)
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        Plan.load(tmp_path / "plan")


def test_nan_in_the_file_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "plan", torch.tensor([1.0, float("nan")]))
    with pytest.raises(PlanError, match=r"^Add: the vector has NaN or infinite entries"):
        Plan.load(tmp_path / "plan")


def test_a_missing_vector_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "plan", tiny.vector(), {"interventions": [{"edit": "add"}] * 2})
    with pytest.raises(PlanError, match=r"is not a plan of steer .KeyError"):
        Plan.load(tmp_path / "plan")


@pytest.mark.parametrize("format", [1, 3, "2", None])
def test_another_format_is_refused(tmp_path: Path, format: Any) -> None:
    _write(tmp_path / "plan", tiny.vector(), {"format": format})
    message = (
        f"^Plan.load: {tmp_path / 'plan'} has format {format}, this version reads 2; "
        "upgrade steer, or extract the plan again$"
    )
    with pytest.raises(PlanError, match=message):
        Plan.load(tmp_path / "plan")


def test_a_mask_is_refused(tmp_path: Path) -> None:
    plan = _plan().on(LAST | ~masked(torch.ones(2, 3).bool()))
    with pytest.raises(PlanError, match=r"^Plan.save: a mask belongs to one batch and is not save"):
        plan.save(tmp_path / "plan")
    assert os.listdir(tmp_path) == []
