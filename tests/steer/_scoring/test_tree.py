import numpy as np

from steer._scoring._tree import Tree


def _seen(tree: Tree, width: int) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in tree.seen(width)]


def test_what_choices_share_is_one_node() -> None:
    # 5 6 - 7 - 8 - (9)      Brackets: predicted, never run.
    #         |   ` (10)
    #         ` (11)
    #     ` 8 - (9)
    tree = Tree.of([5, 6], [[7, 8, 9], [7, 8, 10], [7, 11], [8, 9]])
    assert tree.tokens == [5, 6, 7, 8, 8]
    assert tree.parents == [-1, 0, 1, 2, 1]
    assert tree.places == [0, 1, 2, 3, 2]
    assert tree.edges == [(1, 7), (2, 8), (3, 9), (3, 10), (2, 11), (1, 8), (4, 9)]
    assert tree.paths == [[0, 1, 2], [0, 1, 3], [0, 4], [5, 6]]
    assert _seen(tree, 5) == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4]]


def test_a_choice_may_begin_another_whichever_comes_first() -> None:
    # The last token of the short one has to be run after all, for the long one.
    short_first = Tree.of([5], [[7], [7, 8]])
    assert short_first.tokens == [5, 7]
    assert short_first.edges == [(0, 7), (1, 8)]
    assert short_first.paths == [[0], [0, 1]]
    long_first = Tree.of([5], [[7, 8], [7]])
    assert long_first.tokens == [5, 7]
    assert long_first.edges == [(0, 7), (1, 8)]
    assert long_first.paths == [[0, 1], [0]]


def test_a_choice_that_comes_twice_is_run_once() -> None:
    tree = Tree.of([5, 6], [[7, 8], [7, 8]])
    assert tree.tokens == [5, 6, 7]
    assert tree.edges == [(1, 7), (2, 8)]
    assert tree.paths == [[0, 1], [0, 1]]


def test_single_tokens_add_no_node() -> None:
    tree = Tree.of([5, 6, 7], [[8], [9], [7]])
    assert tree.tokens == [5, 6, 7]
    assert tree.parents == [-1, 0, 1]
    assert tree.edges == [(2, 8), (2, 9), (2, 7)]
    assert tree.paths == [[0], [1], [2]]


def test_the_same_token_at_another_place_is_another_node() -> None:
    tree = Tree.of([7], [[7, 7, 7], [7, 8]])
    assert tree.tokens == [7, 7, 7]
    assert tree.places == [0, 1, 2]
    assert tree.edges == [(0, 7), (1, 7), (2, 7), (1, 8)]
    assert tree.paths == [[0, 1, 2], [0, 3]]


def test_padding_sees_the_first_node_and_is_seen_by_none() -> None:
    tree = Tree.of([5], [[7, 8], [9, 8]])
    assert _seen(tree, 5) == [[0], [0, 1], [0, 2], [0], [0]]


def test_what_is_given_stays_as_it_is() -> None:
    prompt, choices = [5, 6], [[7, 8], [7, 9, 10]]
    Tree.of(prompt, choices)
    assert (prompt, choices) == ([5, 6], [[7, 8], [7, 9, 10]])
