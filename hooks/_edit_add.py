"""Edits that move the states by or to a vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ._edit import Bound, Chosen, Hidden, OneVector, Strength, per_row, precise, vector_of, where


@dataclass(frozen=True, eq=False)
class Add(OneVector):
    """Add a vector: `h' = h + s v`; with `keep_norm`, then `h' * |h| / |h'|` per token.

    Args:
        vector: `v`, in the units of the hidden states.
        keep_norm: rescale each token to the norm it had, over the hidden dimension
            (GrAInS, https://arxiv.org/abs/2507.18043, eq. 9).

    Raises:
        PlanError: if the vector is not one finite, one-dimensional tensor.
    """

    name: ClassVar[str] = "add"
    vector: Float[Tensor, " d"] = field(repr=False)
    keep_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", vector_of(self.vector, "Add"))

    @property
    def options(self) -> Mapping[str, Any]:
        """`keep_norm`."""
        return {"keep_norm": self.keep_norm}

    @classmethod
    def bind(cls, edits: Sequence["Add"], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """`h + s v`, the norm kept if asked for."""
        exact = precise(like)
        pairs = zip(edits, strengths, strict=True)
        moves = [edit.vector.to(exact) * _on(strength, edit.vector) for edit, strength in pairs]
        keep = edits[0].keep_norm
        move = per_row(moves, like, exact=keep)
        return _adding_keeping_norm(move) if keep else _adding(move)


def _on(strength: Strength, vector: Tensor) -> Strength:
    return strength.to(vector.device) if isinstance(strength, Tensor) else strength


def _adding(move: Tensor) -> Bound:
    if move.dtype == torch.float16:  # it may have overflowed, and 0 times infinity is not 0
        return lambda hidden, chosen: where(chosen, hidden + move, hidden)

    def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
        if chosen is None:
            return hidden + move
        # One fused pass over the states: h + 1 v is h + v to the last bit, and h + 0 v is h.
        return torch.addcmul(hidden, chosen, move)

    return apply


def _adding_keeping_norm(move: Tensor) -> Bound:
    def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
        exact = hidden.to(precise(hidden))
        moved = exact + move
        # Finite, so that a token that lands on zero stays there.
        ratio = exact.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        return where(chosen, moved * ratio, hidden)

    return apply


@dataclass(frozen=True, eq=False)
class Replace(OneVector):
    """Put a vector in place of the states: `h' = h + s (v - h)`; strength 1 replaces all.

    Args:
        vector: `v`, in the units of the hidden states.

    Raises:
        PlanError: if the vector is not one finite, one-dimensional tensor.
    """

    name: ClassVar[str] = "replace"
    vector: Float[Tensor, " d"] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", vector_of(self.vector, "Replace"))

    @classmethod
    def bind(cls, edits: Sequence["Replace"], strengths: Sequence[Strength], like: Tensor) -> Bound:
        """`(1 - s) h + s v`, exactly `v` at strength 1."""
        target = per_row([edit.vector for edit in edits], like)
        strength = per_row(strengths, like)

        def apply(hidden: Hidden, chosen: Chosen | None) -> Hidden:
            exact = hidden.to(precise(hidden))
            return where(chosen, torch.lerp(exact, target.expand_as(exact), strength), hidden)

        return apply
