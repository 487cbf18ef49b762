import re
from collections.abc import Sequence

import jaxtyping
import pytest
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

import tiny
from steer.attribution import Pair, answer_ids, as_pairs
from steer.hooks import DataError, Model


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the type checks of the tests, which refuse wrong types before the library does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def letters(merges: Sequence[tuple[str, str]] = ()) -> Model:
    """One token a character, save for merged ones; begins every text with <s>."""
    words = ["<s>", *"Q: A\nxy", *("".join(pair) for pair in merges)]
    bpe = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, list(merges)))
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return Model(tiny.network(), PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>"))


def as_tokens(model: Model, ids: tuple[list[int], list[int]]) -> list[list[str]]:
    return [model.tokenizer.convert_ids_to_tokens(part) for part in ids]


def test_pairs_tuples_and_mappings_are_the_same() -> None:
    pair = Pair("Q:", "yes", "no")
    given = [pair, ("Q:", "yes", "no"), {"prompt": "Q:", "chosen": "yes", "rejected": "no"}]
    assert as_pairs(iter(given)) == [pair, pair, pair]


def test_other_keys_of_a_mapping_are_left_alone() -> None:
    row = {"id": "7", "prompt": "Q:", "chosen": "yes", "rejected": "no"}
    assert as_pairs([row]) == [Pair("Q:", "yes", "no")]


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected"])
@pytest.mark.parametrize("value", ["", " \n", None, 3])
def test_a_pair_refuses_what_is_no_text(unchecked: None, name: str, value: object) -> None:
    texts = {"prompt": "Q:", "chosen": "yes", "rejected": "no"} | {name: value}
    message = f"Pair: '{name}' must be a non-empty text, got {value!r}"
    with pytest.raises(DataError, match=re.escape(message)):
        Pair(**texts)


def test_a_pair_needs_two_different_answers() -> None:
    with pytest.raises(DataError, match="chosen and rejected are the same, 'yes '; a pair needs"):
        Pair("Q:", "yes ", " yes")


GOOD = ("Q:", "yes", "no")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            {"prompt": "Q:", "chosen": "yes"},
            "pair 2: no 'rejected' in it; expected the keys prompt",
        ),
        (("Q:", "yes"), r"pair 2: expected \(prompt, chosen, rejected\)"),
        (("Q:", "yes", "no", "maybe"), r"pair 2: expected \(prompt, chosen, rejected\)"),
        (7, r"pair 2: expected \(prompt, chosen, rejected\)"),
        (("Q:", "", "no"), "pair 2: Pair: 'chosen' must be a non-empty text, got ''"),
        (("Q:", None, "no"), "pair 2: Pair: 'chosen' must be a non-empty text, got None"),
        (("Q:", "no", "no"), "pair 2: Pair: chosen and rejected are the same, 'no'"),
    ],
)
def test_a_broken_pair_is_named_by_its_number(
    unchecked: None, broken: object, message: str
) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        as_pairs([GOOD, GOOD, broken, GOOD])


@pytest.mark.parametrize("alone", [GOOD, Pair("Q:", "yes", "no"), "Q:"])
def test_one_pair_is_no_list_of_pairs(unchecked: None, alone: object) -> None:
    with pytest.raises(DataError, match=r"pairs?( \d)?: expected "):
        as_pairs(alone)


def test_a_text_is_no_pair(unchecked: None) -> None:
    with pytest.raises(DataError, match=r"^pair 0: expected \(prompt, chosen, rejected\)"):
        as_pairs(["abc"])


def test_no_pairs() -> None:
    with pytest.raises(DataError, match=r"^no pairs given; extraction needs at least one"):
        as_pairs([])


@pytest.mark.parametrize(
    ("prompt", "answer", "continuation"),
    [
        ("Q:", "xy", " xy"),
        ("Q: ", "xy", "xy"),
        ("Q:\n", "xy", "xy"),
        ("Q:", " xy", " xy"),
        ("Q:", "\nxy", "\nxy"),
        ("Q: ", " xy", " xy"),
    ],
)
def test_one_space_joins_unless_a_side_brings_its_own(
    prompt: str, answer: str, continuation: str
) -> None:
    model = letters()
    found = as_tokens(model, answer_ids(model, prompt, answer))
    assert found == [["<s>", *prompt], list(continuation)]


def test_the_boundary_is_the_one_that_the_model_sees() -> None:
    """The space merges with the answer's first letter, as in most vocabularies."""
    model = letters([(" ", "x")])
    assert as_tokens(model, answer_ids(model, "Q:", "xy")) == [["<s>", "Q", ":"], [" x", "y"]]


def test_a_merge_across_the_boundary_leaves_the_prompt_whole() -> None:
    """Together they read `Q`, `: `, `x`, `y`, so no cut gives the prompt `Q`, `:`."""
    model = letters([(":", " ")])
    found = as_tokens(model, answer_ids(model, "Q:", "xy"))
    assert found == [["<s>", "Q", ":"], [" ", "x", "y"]]
