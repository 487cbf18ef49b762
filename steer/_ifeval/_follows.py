"""Verdicts: strict, and loose as the paper's section 2.2 loosens them."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from steer.hooks import DataError

from ._checkers import CHECKERS, Checker


def follows(
    instruction: str,
    arguments: Mapping[str, Any],
    prompt: str,
    response: str,
    *,
    loose: bool = False,
) -> bool:
    """Whether the response follows one instruction of its prompt.

    Args:
        instruction: its id, a key of `CHECKERS`.
        arguments: those of its checker; None stands for unused, as in tables where every row has
            every column.
        prompt: the prompt, which errors quote. No checker reads it: a prompt that must be repeated
            comes as the argument `prompt_to_repeat`, without the request to repeat it.
        response: what the model said. A blank response follows nothing.
        loose: whether it is enough that one of eight variants follows: the response as it is,
            without its first line, without its last, without both, and each without asterisks.

    Raises:
        DataError: the instruction is unknown, or its arguments are not those of its checker.
        RunError: the language must be told and langdetect is not installed.
    """
    checker = _checker(instruction, prompt)
    given = _given(instruction, checker, arguments, prompt)
    variants = _variants(response) if loose else [response]
    return any(checker(text, **given) for text in variants if text.strip())


def check(
    instructions: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    prompt: str,
    response: str,
    loose: bool = False,
) -> list[bool]:
    """Whether the response follows each instruction of a row of IFEval.

    Args:
        instructions: the row's `instruction_id_list`.
        kwargs: the row's `kwargs`, the arguments of each instruction.
        prompt: the row's `prompt`.
        response: what the model said to it.
        loose: see `follows`.

    Raises:
        DataError: an instruction is unknown, or its arguments are not those of its checker, or
            there are more of one than of the other.
        RunError: the language must be told and langdetect is not installed.
    """
    if len(instructions) != len(kwargs):
        raise DataError(
            f"ifeval: {len(instructions)} instruction(s) but {len(kwargs)} set(s) of arguments in "
            f"the row {_quoted(prompt)}; give each instruction one, {{}} if it takes none"
        )
    pairs = zip(instructions, kwargs, strict=True)
    return [follows(name, given, prompt, response, loose=loose) for name, given in pairs]


def _checker(instruction: str, prompt: str) -> Checker:
    if instruction not in CHECKERS:
        raise DataError(
            f"ifeval: unknown instruction {instruction!r} in the row {_quoted(prompt)}; "
            f"known are {', '.join(CHECKERS)}"
        )
    return CHECKERS[instruction]


def _given(
    instruction: str, checker: Checker, arguments: Mapping[str, Any], prompt: str
) -> dict[str, Any]:
    """The arguments that are not None, if they are those that the checker takes."""
    given = {name: value for name, value in arguments.items() if value is not None}
    _, *accepted = signature(checker).parameters
    if set(given) != set(accepted):
        raise DataError(
            f"ifeval: {instruction} takes {', '.join(accepted) or 'no arguments'}, but got "
            f"{', '.join(given) or 'none'} in the row {_quoted(prompt)}; mend the row's kwargs"
        )
    return given


def _variants(response: str) -> list[str]:
    """The response and its loosened variants, each once."""
    lines = response.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    kept = [response, *cut]
    return list(dict.fromkeys([*kept, *(text.replace("*", "") for text in kept)]))


def _quoted(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 60 else f"{prompt[:59]}…")
