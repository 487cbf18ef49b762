import re
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
from steer._eval import Tuning, evaluate
from steer._eval._report import html
from steer.hooks import Model, add, resid_post

Summary = dict[str, Any]
NOTE = "Without controls: a gain may be due to any vector of this size."
EVIL = '<script>alert("x")</script>'
SAFE = "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"


@pytest.fixture
def summary(model: Model, tmp_path: Path) -> Summary:
    """Of a model that a plan steers."""
    plan = add(resid_post(1), tiny.vector(50), strength=2.0)
    return evaluate(model, "truthfulqa", plan, data=quiz.write(tmp_path), limit=4).summary


def tuned(model: Model, tmp_path: Path) -> Summary:
    tuning = Tuning(layers=(1, 2), strengths=(0.25, 0.5), sources=1)
    options = {"method": "caa", "beside": ["repe"], "tuning": tuning}
    return evaluate(model, "truthfulqa", data=quiz.write(tmp_path), **options).summary


def cells(page: str) -> list[list[str]]:
    """The text of each row of each table."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]


def test_the_page_needs_nothing_from_elsewhere(summary: Summary) -> None:
    page = html(summary)
    assert not re.search(r"""(src|href|action|data)\s*=\s*["']?\s*(https?:)?//""", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert not re.search(r"<(script|link|iframe|img)\b", page)
    assert page.count("<svg") == page.count("</svg>") == 1
    assert "<?xml" not in page


def test_the_page_holds_the_numbers(summary: Summary) -> None:
    rows = cells(html(summary))
    base = summary["base"]["mc2"]
    expected = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**base)
    assert rows[0] == ["arm", "MC1", "MC1 - base", "p", "MC2", "MC2 - base", "p"]
    assert [row[0] for row in rows[1:5]] == ["base", "steered", "flipped", "random (mean of 5)"]
    assert rows[1][4] == expected
    by_key = {row[0]: row[1] for row in rows if len(row) == 2}
    assert by_key["plan"] == summary["plan"]
    assert by_key["data"] == summary["data"]
    assert by_key["seed"] == "0"
    assert f"torch {summary['versions']['torch']}" in by_key["versions"]


@pytest.mark.parametrize("place", ["task", "model", "prompt", "question", "base", "steered"])
def test_every_text_is_escaped(summary: Summary, place: str) -> None:
    example = {"question": "Is it ?", "base": "no", "steered": "yes"}
    if place in example:
        summary["examples"] = [example | {place: EVIL}]
    else:
        summary |= {place: EVIL, "examples": [example]}
    page = html(summary)
    assert "<script" not in page
    assert SAFE in page
    assert "Answers side by side" in page


def test_the_command_is_shown_escaped(summary: Summary) -> None:
    assert f"<pre>steer eval {SAFE}</pre>" in html(summary, command=f"steer eval {EVIL}")
    assert "<pre>" not in html(summary)


def test_a_run_without_controls_says_so(summary: Summary) -> None:
    assert NOTE not in html(summary)
    assert NOTE in html(summary | {"controls": False})


def test_tuning_is_told_with_its_grid(model: Model, tmp_path: Path) -> None:
    summary = tuned(model, tmp_path)
    page = html(summary)
    how = summary["tuning"]
    assert (
        f"Layer {how['layer']} and strength {how['strength']} (of the layer's residual norm)\n"
        "were chosen on 5 other questions"
    ) in page
    assert "<h2>Tuning of caa</h2>" in page
    assert "<h2>Tuning of repe</h2>" in page
    grids = [row for row in cells(page) if len(row) == 4 and row[0] in ("1", "2")]
    tried = [t for name in ("caa", "repe") for t in summary["chosen"][name]["grid"]]
    assert grids == [
        [str(t["layer"]), str(t["strength"]), f"{t['mc1']:.3f}", f"{t['mc2']:.3f}"] for t in tried
    ]
    assert "caa (steered)" in page


def test_a_run_without_tuning_does_not_speak_of_it(summary: Summary) -> None:
    assert "were chosen on" not in html(summary)
    assert "Tuning of" not in html(summary)


def test_a_model_alone_and_a_single_item(model: Model, tmp_path: Path) -> None:
    found = evaluate(model, "truthfulqa", data=quiz.write(tmp_path), limit=1)
    rows = cells(html(found.summary))
    value = found.summary["base"]["mc2"]["value"]
    assert found.summary["base"]["mc2"]["low"] is None
    assert rows[1] == [
        "base",
        f"{found.summary['base']['mc1']['value']:.3f}",
        "",
        "",
        f"{value:.3f}",
        "",
        "",
    ]
