"""The written form of a span."""

import operator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onerow
from steer.hooks import (
    ALL,
    GENERATED,
    IMAGE,
    LAST,
    PROMPT,
    TEXT,
    PlanError,
    Span,
    add,
    after,
    any_of,
    as_span,
    embed,
    first,
    positions,
)
from tiny import vector

ids = st.integers(0, 10**6)
ends = st.none() | st.integers(-(10**6), 10**6)
markers = ids | st.text(min_size=1) | st.lists(ids, min_size=1, max_size=4)
names = st.sampled_from([ALL, PROMPT, GENERATED, LAST, IMAGE, TEXT])
leaves = st.one_of(
    names,
    st.tuples(st.just(first), st.integers(1, 10**6)),
    st.tuples(st.just(positions), ends, ends),
    st.tuples(st.just(after), markers),
    st.tuples(st.just(any_of), markers),
)


def _joined(inner: Any) -> Any:
    two = st.sampled_from([operator.and_, operator.or_])
    return st.tuples(two, inner, inner) | st.tuples(st.just(operator.invert), inner)


def _made(recipe: Any) -> Any:
    """The function at the front of a tuple, called with the rest."""
    if not isinstance(recipe, tuple):
        return recipe
    return recipe[0](*map(_made, recipe[1:]))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.recursive(leaves, _joined, max_leaves=12))
def test_the_written_form_reads_back(recipe: Any) -> None:
    span = _made(recipe)
    assert as_span(str(span)) == span
    assert as_span(f"  ({span})\n") == span


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("prompt", PROMPT),
        ("prompt & ~last", PROMPT & ~LAST),
        ("prompt|last&generated", PROMPT | (LAST & GENERATED)),
        ("(prompt | last) & generated", (PROMPT | LAST) & GENERATED),
        ("~prompt | last", (~PROMPT) | LAST),
        ("~(prompt | last)", ~(PROMPT | LAST)),
        ("all & prompt & last", (ALL & PROMPT) & LAST),
        ("first(5)", first(5)),
        ("positions(-3)", positions(-3)),
        ("positions(null, -1)", positions(stop=-1)),
        ("positions()", positions()),
        ("after('</think>')", after("</think>")),
        (r'after("a\nb \"c\" \u00e9")', after('a\nb "c" é')),
        ("after(3, 5)", after([3, 5])),
        ("any_of(3)", any_of(3)),
    ],
)
def test_it_is_read_as_python_reads_it(text: str, span: Span) -> None:
    assert as_span(text) == span
    assert add(embed, vector(), span=text).interventions[0].span == span
    assert as_span(span) is span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prompt &",
        "prompt + last",
        "-prompt",
        "not prompt",
        "prompt and last",
        "prompt, last",
        "[prompt]",
        "5",
        "'prompt'",
        "prompt.name",
        "lambda: prompt",
        "(last := prompt)",
        "first()",
        "first(1, 2)",
        "first(n=2)",
        "first(*[2])",
        "first(1 + 1)",
        "first(last)",
        "positions(1, 2, 3)",
        "positions(None.x)",
        "after()",
        'after("a", "b")',
        "after(last)",
        "masked(1)",
        "masked(<mask>)",
        "print(1)",
        "first(2)(3)",
        "__import__('os')",
        "__import__('os').system('true')",
        "first(__import__('os').getpid())",
        "all\nprompt",
        "\0",
        "~" * 50_000 + "all",
        "(" * 5_000 + "all" + ")" * 5_000,
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"^Span: cannot read .*; write a name \(all, prompt, gen"):
        as_span(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("end", "^Span: unknown span 'end'; expected all, prompt"),
        ("first", "^Span: unknown span 'first'; expected all, prompt, .* such as first"),
        ("prompt & __import__", "^Span: unknown span '__import__'"),
        ("first(0)", "^first: expected a number of tokens from 1, got 0$"),
        ("first(null)", "^first: expected a number of tokens from 1, got None$"),
        ("positions(1.5)", "^positions: expected integers, got 1.5$"),
        ('after("")', "^after: expected a token id, several, or a text, got ''$"),
    ],
)
def test_what_is_wrong_in_a_span_is_said(text: str, message: str) -> None:
    with onerow.unchecked(), pytest.raises(PlanError, match=message):
        as_span(text)


def test_no_code_is_run(tmp_path: Path) -> None:
    code = f"first(open({str(tmp_path / 'made')!r}, 'w').write('x'))"
    with pytest.raises(PlanError, match="^Span: cannot read"):
        as_span(code)
    assert list(tmp_path.iterdir()) == []


def test_only_spans_and_texts_are_spans() -> None:
    with (
        onerow.unchecked(),
        pytest.raises(PlanError, match="^Span: expected a span or a text, got int$"),
    ):
        as_span(3)  # type: ignore[arg-type]
