import json
import re
from collections.abc import Callable
from copy import deepcopy
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import quiz
import tiny
from steer._eval import Tuning, evaluate
from steer._eval._report import html, markdown, write_report
from steer.hooks import Model, add, resid_post

Summary = dict[str, Any]
EVIL = '<script>alert("x")</script>'
SAFE = "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"
EXAMPLE = {"question": "Is it ?", "base": "no", "steered": "yes"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Summary]:
    """Of a model that a plan steers, and of two methods."""
    model, data = tiny.model(), quiz.write(tmp_path_factory.mktemp("data"))
    plan = add(resid_post(1), tiny.vector(50), strength=2.0)
    tuning = Tuning(layers=(1, 2), strengths=(0.25, 0.5), sources=1)
    methods: dict[str, Any] = {"method": "caa", "beside": ["repe"], "tuning": tuning}
    return (
        evaluate(model, "truthfulqa", plan, data=data, limit=4, randoms=2).summary,
        evaluate(model, "truthfulqa", data=data, controls=False, **methods).summary,
    )


@pytest.fixture
def summary(measured: tuple[Summary, Summary]) -> Summary:
    return deepcopy(measured[0])


@pytest.fixture
def tuned(measured: tuple[Summary, Summary]) -> Summary:
    return deepcopy(measured[1])


def cells(page: str) -> list[list[str]]:
    """The text of each row of each table."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in rows
    ]


def test_the_page_needs_nothing_from_elsewhere(summary: Summary, tuned: Summary) -> None:
    page = html([summary | {"examples": [EXAMPLE], "command": "steer eval x"}, tuned])
    assert not re.search(r"""\b(src|action|data|srcset)\s*=""", page)
    assert not re.search(r"""href\s*=(?!"(#|data:image/png;base64,))""", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert not re.search(r"<(script|link|iframe|img|object|embed|base)\b", page)
    assert page.count("<svg") == page.count("</svg>") == 4  # two of arms, two of tuning
    assert "<?xml" not in page


def test_the_page_holds_the_numbers(summary: Summary) -> None:
    rows = cells(html([summary]))
    assert rows[0] == ["metric", "base", "steered", "gain", "p", "detectable"]
    by_metric = {row[0]: row for row in rows[1:3]}
    assert by_metric["mc2 ↑"][1] == "{value:.3f} [{low:.3f}, {high:.3f}]".format(
        **summary["base"]["mc2"]
    )
    arms = [row[1] for row in rows if len(row) == 7]
    assert arms == ["arm", *["flipped", "random (mean of 2)"] * 2]
    by_key = {row[0]: row[1] for row in rows if len(row) == 2}
    assert by_key["plan"] == summary["plan"]
    assert by_key["data"] == summary["data"]
    assert by_key["seed"] == "0"
    assert "system" not in by_key  # there is none
    assert f"torch {summary['versions']['torch']}" in by_key["versions"]


@pytest.mark.parametrize(
    "place", ["task", "model", "prompt", "origin", "question", "base", "steered", "command"]
)
def test_every_text_is_escaped(summary: Summary, place: str) -> None:
    if place in EXAMPLE:
        summary["examples"] = [EXAMPLE | {place: EVIL}]
    else:
        summary |= {place: EVIL}
    page = html([summary])
    assert "<script" not in page
    assert SAFE in page


def test_answers_stand_side_by_side(summary: Summary) -> None:
    text = "two\nlines | `and` <b>"
    shown = summary | {"examples": [EXAMPLE, EXAMPLE | {"base": text}]}
    rows = cells(html([shown]))
    at = rows.index(["asked", "base", "steered"])
    assert rows[at + 1 : at + 3] == [["Is it ?", "no", "yes"], ["Is it ?", text, "yes"]]
    assert "| Is it ? | two lines \\| \\`and\\` \\<b\\> | yes |" in markdown([shown]).splitlines()
    for page in (html([summary]), markdown([summary])):
        assert "side by side" not in page


def test_answers_of_the_model_alone(model: Model, tmp_path: Path) -> None:
    found = evaluate(model, "truthfulqa", data=quiz.write(tmp_path), limit=2).summary
    example = {"question": "Is it ?", "base": "no"}
    page = html([found | {"examples": [example]}])
    assert ["asked", "base"] in cells(page)
    assert ["Is it ?", "no"] in cells(page)
    assert "<h2>Base</h2>" in page
    assert "| Is it ? | no |" in markdown([found | {"examples": [example]}])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("*a* _b_ `c`", r"\*a\* \_b\_ \`c\`"),
        ("a\n\n# b\r\nc", "a # b c"),
        ("<script>", r"\<script\>"),
        ("![x](http://host/x.png)", r"![x]\(http://host/x.png)"),
        ("&lt;", r"\&lt;"),
    ],
)
def test_markdown_shows_a_text_as_it_is(summary: Summary, text: str, shown: str) -> None:
    page = markdown([summary | {"examples": [EXAMPLE | {"steered": text}]}])
    assert f"| Is it ? | no | {shown} |" in page.splitlines()
    assert markdown([summary | {"model": text}]).splitlines()[0] == (
        f"## truthfulqa on {shown}, 4 items"
    )


def test_every_row_of_markdown_has_as_many_cells_as_its_header(summary: Summary) -> None:
    page = markdown([summary | {"examples": [EXAMPLE | {"base": "a | b"}]}])
    for block in page.split("\n\n"):
        if block.startswith("|"):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1


def test_the_command_is_shown(summary: Summary) -> None:
    told = summary | {"command": "steer eval truthfulqa"}
    assert "<pre>steer eval truthfulqa</pre>" in html([told])
    assert markdown([told]).endswith("```sh\nsteer eval truthfulqa\n```\n")
    assert "<pre>" not in html([summary])
    assert "```" not in markdown([summary])


def test_a_command_cannot_end_its_fence(summary: Summary) -> None:
    command = "steer eval x --system '\n```\n# no'"
    assert markdown([summary | {"command": command}]).endswith(f"````sh\n{command}\n````\n")


@pytest.mark.parametrize("write", [html, markdown])
def test_missing_controls_are_named(
    summary: Summary, write: Callable[[list[Summary]], str]
) -> None:
    note = "Not held against {}: a gain may be due to what they would show."
    assert note.format("shuffled pair labels") in write([summary])
    all_of_them = ["random vectors", "the flipped vector", "shuffled pair labels"]
    without = summary | {"others": {}, "absent_controls": all_of_them}
    assert note.format(", ".join(all_of_them)) in write([without])
    assert "Not held against" not in write([summary | {"absent_controls": []}])


def test_tuning_is_told_with_a_map_for_each_method(summary: Summary, tuned: Summary) -> None:
    page = html([tuned])
    for name, how in tuned["chosen"].items():
        about = f"Tuning of {name}: layer {how['layer']}, strength {how['strength']}"
        assert f"<h2>{about}</h2>" in page
    assert "chosen on 5 others</h1>" in page
    assert "Tuning of" not in html([summary])


def test_several_runs_are_one_page(summary: Summary, tuned: Summary) -> None:
    page = html([summary, tuned])
    assert page.count("<h1>") == page.count("<article>") == 2
    assert [line[:3] for line in markdown([summary, tuned]).splitlines()].count("## ") == 2


def test_the_same_summary_is_the_same_page(tuned: Summary) -> None:
    assert html([tuned]) == html([tuned])


def test_a_summary_is_written_with_its_command(summary: Summary, tmp_path: Path) -> None:
    write_report(tmp_path, summary, "steer eval x")
    assert json.loads((tmp_path / "summary.json").read_text()) == summary | {
        "command": "steer eval x"
    }
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    write_report(tmp_path, summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
