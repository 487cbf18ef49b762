"""A loaded model as judge: its odds of Yes against No."""

from collections.abc import Sequence

import torch

from steer._scoring._halving import halving
from steer.hooks import Model, ModelError, by_tokens

from ._asking import REFUSAL_QUESTION, asked
from ._judge import Exchange, Judge

_YES = ("Yes", " Yes", "yes", " yes", "YES", " YES")
_NO = ("No", " No", "no", " no", "NO", " NO")


def verdict(model: Model, question: str = REFUSAL_QUESTION, *, batch_tokens: int = 1024) -> Judge:
    """A judge that asks a model, in one pass an exchange and without generating.

    `sigmoid(log p(Yes) - log p(No))` for the token after the question, where p(Yes) sums over the
    first tokens of "Yes", " Yes", "yes", … that are not also first tokens of a "No". The question
    is put in the tokenizer's chat template if there is one.

    Args:
        model: the judge; a plan that is attached to it when it judges steers its verdicts.
        question: a yes-or-no question on the answer, such as `TRUTH_QUESTION`.
        batch_tokens: tokens in a batch, padding included.

    Returns:
        A judge that says None for an exchange longer than the model's context.

    Raises:
        ModelError: if no token tells a Yes from a No.
    """
    yes, no = _first_ids(model, _YES), _first_ids(model, _NO)
    if not yes - no or not no - yes:
        raise ModelError(
            f"verdict: {model.name}'s tokenizer begins Yes and No with the same tokens; choose "
            "another model as judge"
        )

    def judge(exchanges: Sequence[Exchange]) -> list[float | None]:
        rows = [_ids(model, exchange, question) for exchange in exchanges]
        context = getattr(model.hf.config.get_text_config(), "max_position_embeddings", None)
        short = [i for i, row in enumerate(rows) if context is None or len(row) <= context]
        scores: list[float | None] = [None] * len(rows)

        def score(group: Sequence[int]) -> None:
            batch = [rows[short[g]] for g in group]
            odds = _log_odds(model, batch, sorted(yes - no), sorted(no - yes))
            for g, value in zip(group, odds.sigmoid().tolist(), strict=True):
                scores[short[g]] = value if value == value else None  # NaN: the pass overflowed

        for group in by_tokens([len(rows[i]) for i in short], batch_tokens):
            halving(score, group)
        return scores

    return judge


def _first_ids(model: Model, words: Sequence[str]) -> set[int]:
    ids = [model.token_ids(word, start=False) for word in words]
    return {row[0] for row in ids if row}


def _ids(model: Model, exchange: Exchange, question: str) -> list[int]:
    text = asked(exchange, question)
    if model.tokenizer.chat_template:
        return model.token_ids(model.chat(text))
    return model.token_ids(f"{text}\n\nReply:")


@torch.no_grad()
def _log_odds(
    model: Model, rows: Sequence[Sequence[int]], yes: Sequence[int], no: Sequence[int]
) -> torch.Tensor:
    out = model.anatomy.decoder(**model.batch(rows), use_cache=False)
    logits = model.logits(out.last_hidden_state[:, -1])
    return logits[:, yes].logsumexp(-1) - logits[:, no].logsumexp(-1)
