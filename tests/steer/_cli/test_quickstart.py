import json
from pathlib import Path

import pytest

import steer
from cli import Run
from steer.data import path_of


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only four questions: two to tune on, two to report."""
    lines = path_of("misconceptions").read_text(encoding="utf-8").split("\n")
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(lines[:4]), encoding="utf-8")

    def path_to(name: str) -> Path:
        return path if name == "misconceptions" else path_of(name)

    monkeypatch.setattr("steer._sources._file.path_of", path_to)


@pytest.mark.usefixtures("few")
def test_from_a_model_to_a_report(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--out", out, "--device", "cpu", "--dtype", "float32", "--quiet")
    done = run("quickstart", "--model", saved, *words)
    assert (done.code, done.err) == (0, "")

    summary = json.loads((out / "summary.json").read_text())
    assert (summary["task"], summary["items"]) == ("misconceptions", 2)
    assert summary["methods"] == ["grains", "caa"]
    assert set(summary["others"]) == {"caa", "flipped", "shuffled", "random"}
    for method in ("grains", "caa"):
        assert steer.Plan.load(out / f"{method}.safetensors").meta["method"] == method
    assert "steer quickstart" in (out / "report.html").read_text()

    lines = done.out.splitlines()
    assert list(summary["costs"]) != []
    for arm in ("base", "grains (steered)", "caa", "flipped", "random (mean of 5)"):
        assert any(arm in line for line in lines)
    asked = [json.loads(row)["question"] for row in (out / "rows.jsonl").read_text().splitlines()]
    assert [line for line in lines if line.startswith("Q: ")] == [f"Q: {q}" for q in asked[:2]]
    assert sum(line.startswith("  base:    ") for line in lines) == 2
    assert sum(line.startswith("  steered: ") for line in lines) == 2
