"""Reads the written form of a span, such as `prompt & ~last` or `after("</think>")`."""

import ast
from collections.abc import Callable
from typing import Any

from ._errors import PlanError
from ._spans import NAMED, Span, after, any_of, first, positions

_CALLS: dict[str, Callable[..., Span]] = {
    "after": after,
    "any_of": any_of,
    "first": first,
    "positions": positions,
}


def as_span(span: Span | str) -> Span:
    """The span itself, or the one that is written so.

    Raises:
        PlanError: if the text is no span.
    """
    if isinstance(span, Span):
        return span
    if not isinstance(span, str):
        raise PlanError(f"Span: expected a span or a text, got {type(span).__name__}")
    try:
        return _read(ast.parse(span.strip(), mode="eval").body)
    except PlanError:
        raise
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise PlanError(
            f"Span: cannot read {span!r}; write a name ({', '.join(NAMED)}), a call such as "
            'first(5), positions(-3, null), after("</think>"), or these joined by & | ~'
        ) from error


def _read(node: ast.expr) -> Span:
    if isinstance(node, ast.Name):
        return Span(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return ~_read(node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        return _read(node.left) & _read(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _read(node.left) | _read(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        args = [_value(arg) for arg in node.args]
        if node.func.id in ("after", "any_of") and len(args) > 1:
            return _CALLS[node.func.id](args)
        if node.func.id in _CALLS:
            return _CALLS[node.func.id](*args)
    raise SyntaxError(ast.dump(node))


def _value(node: ast.expr) -> Any:
    """A number, a text, or `null`, as JSON writes them."""
    if isinstance(node, ast.Name) and node.id == "null":
        return None
    return ast.literal_eval(node)
