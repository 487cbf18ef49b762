"""Draws interventions in plain words, and writes them as plans of steer."""

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st

import onerow
import tiny
from steer.hooks import (
    Ablate,
    Add,
    Affine,
    Clamp,
    Edit,
    Intervention,
    Plan,
    Replace,
    Rotate,
    Site,
    Span,
    after,
    any_of,
    first,
    positions,
)

KINDS = ["resid_pre", "resid_post", "attn_out", "mlp_out", "heads", "embed", "final"]
EDITS = ["add", "keep", "replace", "ablate", "clamp", "rotate", "affine"]
TOKENS = st.integers(3, 9)  # few, so that a marker is met
ENDS = st.none() | st.integers(-4, 6)
_LEAVES = st.one_of(
    st.sampled_from(["all", "prompt", "generated", "last"]),
    st.tuples(st.just("first"), st.integers(1, 3)),
    st.tuples(st.just("positions"), ENDS, ENDS),
    st.tuples(st.just("after"), TOKENS),
    st.tuples(st.just("after"), TOKENS, TOKENS),
    st.sets(st.integers(3, 59), min_size=1, max_size=30).map(lambda ids: ("any_of", *sorted(ids))),
)
SPANS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=3,
)
ROWS = st.lists(TOKENS | st.integers(3, 59), min_size=1, max_size=8)


@st.composite
def steps(draw: st.DrawFn, most: int = 3) -> list[onerow.Step]:
    """A few interventions."""
    return [draw(_step(n)) for n in range(draw(st.integers(1, most)))]


@st.composite
def _step(draw: st.DrawFn, place: int) -> onerow.Step:
    edit = draw(st.sampled_from(EDITS))
    # No two edits share a vector: what one leaves of it would be rounding, for another to enlarge.
    seed = 1000 * place + draw(st.integers(0, 50))
    return onerow.Step(
        kind=draw(st.sampled_from(KINDS)),
        layer=draw(st.integers(0, tiny.N_LAYERS - 1)),
        edit=edit,
        vector=tiny.vector(seed),
        span=draw(SPANS),
        strength=draw(st.sampled_from([-2.0, -0.5, 0.0, 0.1, 1.0, 3.0])),
        more=_more(draw, edit, seed),
    )


def _more(draw: st.DrawFn, edit: str, seed: int) -> dict[str, Any]:
    if edit == "clamp":
        bounds = [(None, 0.3), (-0.3, None), (-0.5, 0.2), (0.7, 0.7)]
        return dict(zip(("low", "high"), draw(st.sampled_from(bounds)), strict=True))
    if edit == "rotate":
        return {"degrees": draw(st.sampled_from([15.0, 40.0]))}
    if edit == "affine":
        rank = draw(st.integers(1, 3))
        vectors = [0.2 * tiny.vector(seed + 100 * n) for n in range(1, 2 * rank + 1)]
        return {"read": vectors[:rank], "write": vectors[rank:]}
    return {}


def span(rule: onerow.Rule) -> Span:
    """A rule as a span of steer."""
    if isinstance(rule, str):
        return Span(rule)
    name, *args = rule
    if name in ("first", "positions"):
        return {"first": first, "positions": positions}[name](*args)
    if name in ("after", "any_of"):
        return {"after": after, "any_of": any_of}[name](args)
    if name == "not":
        return ~span(args[0])
    one, two = map(span, args)
    return one & two if name == "and" else one | two


def plan(some: Sequence[onerow.Step]) -> Plan:
    """Steps as a plan of steer."""
    items = []
    for step in some:
        site = Site(step.kind, None if step.kind in ("embed", "final") else step.layer)
        items.append(Intervention(site, _edit(step), span(step.span), step.strength))
    return Plan(tuple(items))


def _edit(step: onerow.Step) -> Edit:
    if step.edit in ("add", "keep"):
        return Add(step.vector, keep_norm=step.edit == "keep")
    if step.edit == "affine":
        read, write = (step.more[name] for name in ("read", "write"))
        return Affine(_stacked(read), _stacked(write), step.vector)
    if step.edit == "clamp":
        return Clamp(step.vector, step.more["low"], step.more["high"])
    if step.edit == "rotate":
        return Rotate(step.vector, step.more["degrees"])
    return {"replace": Replace, "ablate": Ablate}[step.edit](step.vector)


def _stacked(vectors: Sequence[Any]) -> Any:
    return torch.stack(list(vectors))
