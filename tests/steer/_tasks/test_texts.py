from collections.abc import Sequence
from math import exp, log
from typing import Any

import pytest
import torch

import byhand
import tiny
from steer._tasks import TASKS, Metric, Result, Setting
from steer._tasks._texts import WINDOW, windows
from steer.hooks import DataError, add, resid_post

PERPLEXITY, KL = TASKS["perplexity"], TASKS["kl"]
TEXTS = [
    "the cat is big and the dog is small .",
    "fire is hot",
    "Paris or London ? two new birds !",
]


def mean(metric: Metric, results: Sequence[Result]) -> float:
    """What `Metric` says of itself."""
    pairs = [(r[metric.value or metric.name], r[metric.weight]) for r in results if metric.weight]
    total = sum(w * v for v, w in pairs if v is not None) / sum(
        w for v, w in pairs if v is not None
    )
    return exp(total) if metric.exponential else total


@torch.no_grad()
def predictions(ids: list[int], vector: torch.Tensor | None = None) -> torch.Tensor:
    """Log-probabilities after each token, the model run on this text alone."""
    model = tiny.model()
    if vector is None:
        return model.hf(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    with byhand.adding(model.hf.model.layers[1], vector, 0):
        return model.hf(torch.tensor([ids])).logits[0].double().log_softmax(-1)


def measured(task: Any, texts: Sequence[str], vector: torch.Tensor) -> dict[str, list[Result]]:
    items = [task.item({"text": text}, n) for n, text in enumerate(texts)]
    plans = {"base": None, "steered": add(resid_post(1), vector)}
    return task.measure(Setting(tiny.model(), "plain", batch_tokens=16), items, plans)


@pytest.mark.parametrize("arm", ["base", "steered"])
def test_perplexity_bits_and_divergence_by_hand(arm: str) -> None:
    vector = tiny.vector(3)
    found = measured(KL, TEXTS, vector)[arm]
    tokens, nll, kl, agreed, size = 0, 0.0, 0.0, 0, 0
    for text in TEXTS:
        ids = tiny.tokenizer()(text)["input_ids"]
        base = predictions(ids)[:-1]
        now = base if arm == "base" else predictions(ids, vector)[:-1]
        nll -= sum(float(row[token]) for row, token in zip(now, ids[1:], strict=True))
        kl += float((base.exp() * (base - now)).sum())
        agreed += int((base.argmax(-1) == now.argmax(-1)).sum())
        tokens += len(ids) - 1
        size += len(text.encode()) - len(text.split()[0])  # the first word is not predicted
    by_name = {m.name: m for m in (*PERPLEXITY.metrics, *KL.metrics)}
    assert sum(result["tokens"] for result in found) == tokens
    assert mean(by_name["perplexity"], found) == pytest.approx(exp(nll / tokens), rel=1e-4)
    assert mean(by_name["bits"], found) == pytest.approx(nll / log(2) / size, rel=1e-4)
    assert mean(by_name["kl"], found) == pytest.approx(kl / tokens, abs=1e-5)
    assert mean(by_name["agreed"], found) == pytest.approx(agreed / tokens)
    assert (kl > 0.1) is (arm == "steered")


def test_bytes_are_those_of_predicted_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\u00e9\u00e9 cat dog"  # two bytes a letter; the first word is <unk>, unlike its text
    found = measured(PERPLEXITY, [text, "cat \u00e9\u00e9"], tiny.vector())["base"]
    assert [result["bytes"] for result in found] == [12, 5]
    setting = Setting(tiny.model(), "plain")
    start = setting.model.tokenizer.bos_token_id
    ids = type(setting.model).token_ids
    monkeypatch.setattr(type(setting.model), "token_ids", lambda m, t: [start, *ids(m, t)])
    (result,) = PERPLEXITY.measure(setting, [PERPLEXITY.item({"text": "cat dog"}, 0)], {"b": None})[
        "b"
    ]
    assert (result["tokens"], result["bytes"]) == (2, 7)


def test_a_window_of_one_token_takes_no_part() -> None:
    found = measured(KL, ["cat", "fire is hot", "dog"], tiny.vector())
    alone = measured(KL, ["fire is hot"], tiny.vector())
    for arm in ("base", "steered"):
        assert [result["tokens"] for result in found[arm]] == [0, 2, 0]
        assert [result["nll"] is None for result in found[arm]] == [True, False, True]
        for metric in (*PERPLEXITY.metrics, *KL.metrics):
            assert mean(metric, found[arm]) == pytest.approx(mean(metric, alone[arm]), rel=1e-5)
    assert measured(KL, ["cat"], tiny.vector())["steered"][0]["kl"] is None


def pieces(*texts: str) -> list[str]:
    return [row["text"] for row in windows([{"text": text} for text in texts])]


def test_nothing_is_lost_between_windows() -> None:
    text = "".join(f"word{n}" + (" " if n % 7 else " \n\t") for n in range(900)).strip()
    found = pieces(text)
    assert "".join(found) == text
    assert len(found) == -(-len(text) // WINDOW)
    assert max(map(len, found)) <= WINDOW
    assert all(piece[0].isspace() and not piece[-1].isspace() for piece in found[1:-1])


@pytest.mark.parametrize("length", [WINDOW, WINDOW + 1])
def test_a_window_holds_the_limit_and_not_one_more(length: int) -> None:
    text = "a" * (length - 2) + " b"
    assert pieces(text) == ([text] if length == WINDOW else ["a" * (length - 2), " b"])


def test_a_single_word_may_be_longer() -> None:
    assert pieces("a " + "b" * 3000 + " c") == ["a", " " + "b" * 3000, " c"]


def test_each_row_is_a_text_of_its_own() -> None:
    assert pieces("one two ", "three") == ["one two", "three"]


def test_numbered_lines_are_one_text() -> None:
    lines = [" ", " = Title = ", " ", " It was . ", "", "x" * 990 + " end"]
    rows = [{"line": n, "text": line} for n, line in enumerate(lines)]
    found = [row["text"] for row in windows(rows)]
    assert "".join(found) == "".join(line + "\n" for line in lines).strip()
    assert found[0] == "= Title = \n \n It was ."
    # Only if all rows are numbered.
    assert [row["text"] for row in windows([{"line": 0, "text": "a"}, {"text": "b"}])] == ["a", "b"]


def test_blank_rows_mean_that_rows_are_lines_as_on_the_hub() -> None:
    rows = [{"text": ""}, {"text": " = Title = \n"}, {"text": ""}, {"text": "It was .\n"}]
    assert [row["text"] for row in windows(rows)] == ["= Title = \n\nIt was ."]


def test_a_row_without_text_is_named() -> None:
    with pytest.raises(DataError, match="^row 1: no column text; it has words"):
        list(windows([{"text": "a"}, {"words": "b"}]))
    with pytest.raises(DataError, match="^row 0: no column text; it has words"):
        list(windows([{"words": "a"}]))
    assert list(windows([])) == []


def test_rows_show_the_beginning() -> None:
    assert PERPLEXITY.item({"text": "ab" * 99}, 0).shown == {"text": "ab" * 40}
