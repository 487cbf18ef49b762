import json
import re
import shutil
from pathlib import Path

import pytest

import quiz
import tiny
from cli import Run
from steer._eval import evaluate
from steer._eval._report import html, markdown
from steer.hooks import add, resid_post


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `alone` and `steered`."""
    folder = tmp_path_factory.mktemp("runs")
    model, data = tiny.model(), quiz.write(folder)
    plan = add(resid_post(1), tiny.vector())
    evaluate(model, "truthfulqa", data=data, limit=3, out=folder / "alone")
    evaluate(model, "truthfulqa", plan, data=data, limit=4, randoms=1, out=folder / "steered")
    return folder


def _summaries(*folders: Path) -> list[dict[str, object]]:
    return [json.loads((folder / "summary.json").read_text()) for folder in folders]


def test_two_runs_on_one_page(run: Run, runs: Path, tmp_path: Path) -> None:
    folders, out = (runs / "steered", runs / "alone"), tmp_path / "deep" / "both.html"
    done = run("report", *folders, "--out", out)
    assert done == (0, "", f"steer: wrote {out}\n")
    page = out.read_text()
    assert page == html(_summaries(*folders))
    assert page.index("on tiny-llama, 4 items</h1>") < page.index("on tiny-llama, 3 items</h1>")
    assert page.count("<h1>") == page.count("<svg") == 2


def test_two_runs_as_markdown(run: Run, runs: Path, tmp_path: Path) -> None:
    folders, out = (runs / "alone", runs / "steered"), tmp_path / "both.md"
    assert run("report", *folders, "--out", out, "--quiet") == (0, "", "")
    assert out.read_text() == markdown(_summaries(*folders))


def test_markdown_on_the_screen(run: Run, runs: Path) -> None:
    done = run("report", runs / "steered")
    assert (done.code, done.err) == (0, "")
    assert done.out == markdown(_summaries(runs / "steered"))
    assert done.out.startswith("## truthfulqa on tiny-llama, 4 items\n")


def test_a_summary_instead_of_its_folder(run: Run, runs: Path) -> None:
    folder = runs / "alone"
    assert run("report", folder / "summary.json") == run("report", folder)


@pytest.mark.parametrize("end", ["html", "md"])
def test_text_of_a_run_cannot_become_markup(run: Run, runs: Path, tmp_path: Path, end: str) -> None:
    evil = "<script>alert(1)</script> | ![x](http://host/x.png)"
    (summary,) = _summaries(runs / "steered")
    example = {"question": evil, "base": evil, "steered": evil}
    changed = summary | {"model": evil, "origin": evil, "examples": [example]}
    (tmp_path / "summary.json").write_text(json.dumps(changed))
    assert run("report", tmp_path, "--out", tmp_path / f"page.{end}").code == 0
    page = (tmp_path / f"page.{end}").read_text()
    assert not re.search(r"(?<!\\)<script", page)
    safe = {
        "html": "&lt;script&gt;alert(1)&lt;/script&gt; |",
        "md": r"\<script\>alert(1)\</script\> \| ![x]\(http://host/x.png)",
    }
    assert page.count(safe[end]) >= 4  # the model, and thrice in the example


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "cannot be read (Expecting value: line 1 column 1 (char 0))"),
        ("{", "cannot be read (Expecting property name"),
        ("[1]", "is no summary of this version of steer"),
        ('"text"', "is no summary of this version of steer"),
        ("{}", "is no summary of this version of steer"),
        ('{"task": "x", "metrics": [], "base": {}, "versions": {}}', "is no summary of this"),
        (b"\xff\xfe", "cannot be read ('utf-8' codec can't decode"),
    ],
)
def test_folders_that_are_no_run(
    run: Run, runs: Path, tmp_path: Path, content: str | bytes | None, why: str
) -> None:
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("report", runs / "alone", tmp_path, "--out", tmp_path / "page.html")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"steer: report: {path} {why}")
    assert done.err.endswith("; expected the folder of a run that has ended, as --out named it\n")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("key", ["task", "seconds", "tuning", "chosen", "examples", "methods"])
def test_a_summary_that_lacks_something(run: Run, runs: Path, tmp_path: Path, key: str) -> None:
    shutil.copytree(runs / "steered", tmp_path / "run")
    (summary,) = _summaries(tmp_path / "run")
    del summary[key]
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    done = run("report", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (1, 1)


def test_pages_that_cannot_be_made(run: Run, runs: Path, tmp_path: Path) -> None:
    done = run("report", runs / "alone", "--out", "page.pdf")
    told = "steer: report: expected --out with .html or .md, got page.pdf\n"
    assert done == (1, "", told)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "page.html"
    done = run("report", runs / "alone", "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"steer: report: cannot write {out}: ")
    assert run("report").code == 2
