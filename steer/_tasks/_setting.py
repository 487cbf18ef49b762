"""What every part of an evaluation needs to know."""

from dataclasses import dataclass

from steer.hooks import Model


@dataclass(frozen=True)
class Setting:
    """The model and how it is run."""

    model: Model
    """Steered by whatever is attached when it is measured."""

    template: str
    """The prompt, with `{question}` in it."""

    seed: int = 0
    """Of the split, the pairs, the random vectors and the bootstrap."""

    batch_tokens: int = 1024
    """Tokens in a batch, padding included."""

    progress: bool = False
    """Show bars."""
