"""What to steer with: which tokens matter and which directions; pairs in, plans out."""

from ._caa import caa
from ._directions import Aggregate, mean, principal
from ._grains import grains, preference
from ._integrated import Scored, integrated_gradients
from ._pairs import Pair, PairLike, answer_ids, as_pairs
from ._repe import repe

__all__ = [
    "Aggregate",
    "Pair",
    "PairLike",
    "Scored",
    "answer_ids",
    "as_pairs",
    "caa",
    "grains",
    "integrated_gradients",
    "mean",
    "preference",
    "principal",
    "repe",
]
