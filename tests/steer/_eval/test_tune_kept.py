"""Plans that are made once, for every process and for the command that goes on."""

from pathlib import Path

import pytest

import tiny
import two
from steer._eval import Tuning
from steer._eval._share import Share
from steer._eval._tune import Tuner
from steer._tasks import TASKS, Setting
from steer.hooks import Model, Plan, RunError, add, resid_post


def tuner(model: Model, folder: Path | None) -> Tuner:
    return Tuner(TASKS["truthfulqa"], Setting(model, "qa"), Tuning(), None, folder, Share())


class Changing:
    """A method that makes another plan each time."""

    def __init__(self) -> None:
        self.calls = 0

    def make(self) -> Plan:
        self.calls += 1
        return add(resid_post(1), tiny.vector(self.calls))


def test_a_plan_is_made_once(model: Model, tmp_path: Path) -> None:
    method, made = Changing(), tuner(model, tmp_path)
    first = made.kept("x", method.make)
    assert made.kept("x", method.make).hash == first.hash
    assert method.calls == 1
    assert tuner(model, None).kept("x", method.make).hash != first.hash


def test_a_plan_of_a_run_that_lost_its_folder_is_made_again(model: Model, tmp_path: Path) -> None:
    method, made = Changing(), tuner(model, tmp_path)
    (tmp_path / "run.json").write_text("{}")
    first = made.kept("x", method.make)
    (tmp_path / "run.json").write_text('{"seed": 1}')
    second = made.kept("x", method.make)
    assert first.hash != second.hash == made.kept("x", method.make).hash


def test_two_processes_take_the_plan_of_the_first(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, made = [Changing(), Changing()], tuner(model, tmp_path)
    methods[1].calls = 5
    first, second = two.both(
        monkeypatch, lambda share: made._replace(share=share).kept("x", methods[share.rank].make)
    )
    assert isinstance(first, Plan)
    assert isinstance(second, Plan)
    assert first.hash == second.hash
    assert [method.calls for method in methods] == [1, 5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.safetensors", "x.safetensors is damaged"),
        ("x.json", "x.json is damaged"),
        ("other", "x.safetensors is not what this run made"),
    ],
)
def test_a_plan_that_was_changed(model: Model, tmp_path: Path, name: str, message: str) -> None:
    method, made = Changing(), tuner(model, tmp_path)
    made.kept("x", method.make)
    if name == "other":
        method.make().save(tmp_path / "x.safetensors")
    else:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(RunError, match=rf"{message}.*; choose another --out$"):
        made.kept("x", method.make)
