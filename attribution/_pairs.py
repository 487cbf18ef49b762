"""Contrastive pairs: a prompt, an answer to prefer and one to avoid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from steer.hooks import DataError, Model


@dataclass(frozen=True)
class Pair:
    """One prompt with a preferred and a dispreferred answer.

    Raises:
        DataError: an empty text, or equal answers (their difference would be zero).
    """

    prompt: str
    chosen: str
    rejected: str

    def __post_init__(self) -> None:
        for name in ("prompt", "chosen", "rejected"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"Pair: {name!r} must be a non-empty text, got {value!r}")
        if self.chosen.strip() == self.rejected.strip():
            raise DataError(
                f"Pair: chosen and rejected are the same, {self.chosen!r}; "
                "a pair needs two different answers"
            )


PairLike = Pair | Mapping[str, str] | tuple[str, str, str]


def as_pairs(pairs: Iterable[PairLike]) -> list[Pair]:
    """Pairs from `Pair`s, mappings with their three keys, or tuples.

    Raises:
        DataError: no pairs, or one that is broken (its number is in the message).
    """
    if isinstance(pairs, Pair | Mapping | str):
        raise DataError(f"pairs: expected a list of pairs, got one {type(pairs).__name__}")
    found = []
    for number, pair in enumerate(pairs):
        try:
            found.append(_as_pair(pair))
        except KeyError as error:
            raise DataError(
                f"pair {number}: no {error} in it; expected the keys prompt, chosen and rejected"
            ) from error
        except TypeError as error:
            raise DataError(f"pair {number}: expected (prompt, chosen, rejected)") from error
        except DataError as error:
            raise DataError(f"pair {number}: {error}") from error
    if not found:
        raise DataError("no pairs given; extraction needs at least one, better 50 or more")
    return found


def _as_pair(pair: PairLike) -> Pair:
    if isinstance(pair, Pair):
        return pair
    if isinstance(pair, Mapping):
        return Pair(pair["prompt"], pair["chosen"], pair["rejected"])
    if isinstance(pair, str):
        raise TypeError
    return Pair(*pair)


def answer_ids(model: Model, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Tokens of a prompt and of the answer that follows it.

    The two are joined with a space unless one side brings its own, and tokenised together, so that
    the boundary is the one the model would see (as lm-evaluation-harness does).
    """
    space = "" if prompt[-1:].isspace() or answer[:1].isspace() else " "
    start = model.token_ids(prompt)
    whole = model.token_ids(prompt + space + answer)
    if whole[: len(start)] != start:  # a tokenizer that merges across the boundary
        return start, model.token_ids(space + answer, start=False)
    return start, whole[len(start) :]
