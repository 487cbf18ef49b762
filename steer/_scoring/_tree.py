"""The choices of a prompt as a tree, so that what they begin with in common is run once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


@dataclass
class Tree:
    """A prompt with its choices.

    The nodes are the tokens that have to be run: the prompt, then each distinct beginning of a
    choice. A choice's last token is predicted and never run.

    Attributes:
        tokens: of each node.
        parents: the node that each follows, -1 for the first.
        places: how many nodes come before each in its own text.
        edges: predictions to be read: after which node, and of which token.
        paths: for each choice the edges whose log-probabilities sum to its score.
    """

    tokens: list[int]
    parents: list[int]
    places: list[int]
    edges: list[tuple[int, int]] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)

    @classmethod
    def of(cls, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> "Tree":
        """The tree of a prompt's last tokens and its choices, at least one token each."""
        tree = cls(list(prompt), list(range(-1, len(prompt) - 1)), list(range(len(prompt))))
        numbers: dict[tuple[int, int], int] = {}
        children: dict[tuple[int, int], int] = {}
        for choice in choices:
            node, path = len(prompt) - 1, []
            for n, token in enumerate(choice):
                edge = (node, token)
                if edge not in numbers:
                    numbers[edge] = len(tree.edges)
                    tree.edges.append(edge)
                path.append(numbers[edge])
                if n + 1 < len(choice):
                    node = children[edge] if edge in children else tree._grow(edge, children)
            tree.paths.append(path)
        return tree

    def _grow(self, edge: tuple[int, int], children: dict[tuple[int, int], int]) -> int:
        node, token = edge
        children[edge] = len(self.tokens)
        self.tokens.append(token)
        self.parents.append(node)
        self.places.append(self.places[node] + 1)
        return children[edge]

    def seen(self, width: int) -> Bool[ndarray, "width width"]:
        """Which node sees which: itself and those that it follows; padding sees the first node."""
        seen = np.zeros((width, width), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] = seen[parent]
            seen[node, node] = True
        seen[len(self.tokens) :, 0] = True
        return seen
