from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import families
import onerow
import parts
import tiny
from steer.hooks import (
    DataError,
    Model,
    RunError,
    Site,
    SiteError,
    add,
    attach,
    embed,
    final,
    heads,
    masked,
    mlp_out,
    moments,
    prompts,
    record,
    resid_post,
    resid_pre,
)

# Out of order, with duplicates, and of lengths that make several batches of 12 tokens.
ROWS = [[5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 6], [15, 16, 17], [7], [18, 19, 20, 21, 22]]
PAIRS = [([5, 6, 7], [8, 9]), ([10], [11, 12, 13]), ([5, 6], [7, 8, 9])]
SITES = [resid_post(1), final, embed]


@torch.no_grad()
def _alone(model: Model, row: list[int]) -> dict[Site, Tensor]:
    """`[tokens, d_model]` of one row alone, from transformers itself."""
    states = model.hf(torch.tensor([row]), output_hidden_states=True).hidden_states
    return {resid_post(1): states[2][0], final: states[-1][0], embed: states[0][0]}


POOLS: dict[str, Any] = {
    "last": lambda states: states[-1],
    "mean": lambda states: states.sum(0) / len(states),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("budget", [1, 12, 1000])
def test_pooled_states_by_hand(model: Model, pool: Any, budget: int) -> None:
    got = record(model, ROWS, SITES, pool=pool, batch_tokens=budget)
    assert list(got) == SITES
    for site in SITES:
        expected = torch.stack([POOLS[pool](_alone(model, row)[site]) for row in ROWS])
        torch.testing.assert_close(got[site], expected, rtol=1e-4, atol=1e-4)
        assert got[site].dtype == torch.float32
        assert got[site].device.type == "cpu"
        assert not got[site].requires_grad


def test_all_states_by_hand(any_model: Model) -> None:
    got = record(any_model, ROWS, resid_post(1), pool="none", batch_tokens=12)[resid_post(1)]
    for states, row in zip(got, ROWS, strict=True):
        expected = _alone(any_model, row)[resid_post(1)]
        torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)


SPANS: dict[str, Any] = {
    "all": lambda p, n: range(n),
    "prompt": lambda p, n: range(p),
    "generated": lambda p, n: range(p, n),
    "last": lambda p, n: [p - 1],
}


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("pool", ["last", "mean", "none"])
def test_spans_of_pairs_by_hand(model: Model, span: str, pool: Any) -> None:
    got = record(model, PAIRS, final, span=span, pool=pool, batch_tokens=8)[final]
    for states, (prompt, answer) in zip(got, PAIRS, strict=True):
        chosen = list(SPANS[span](len(prompt), len(prompt) + len(answer)))
        expected = _alone(model, prompt + answer)[final][chosen]
        expected = expected if pool == "none" else POOLS[pool](expected)
        torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)


def test_equal_tokens_with_another_prompt_are_another_row(model: Model) -> None:
    rows = [([5, 6], [7, 8]), ([5, 6, 7], [8]), [5, 6, 7, 8]]
    got = record(model, rows, final, span="last")[final]
    states = _alone(model, [5, 6, 7, 8])[final]
    torch.testing.assert_close(got, states[[1, 2, 3]], rtol=1e-4, atol=1e-4)


def test_texts_ids_and_tuples_are_rows(model: Model) -> None:
    rows = ["the sky", [11, 14], (11, 14), ([11], [14]), ((11, 14), ())]
    got = record(model, rows, final)[final]
    expected = _alone(model, [11, 14])[final][-1]
    torch.testing.assert_close(got, expected.expand(5, -1), rtol=1e-4, atol=1e-4)
    assert torch.equal(record(model.hf, rows[1:], final)[final], got[1:])


def test_a_bare_model_needs_no_tokenizer_for_ids(model: Model) -> None:
    expected = record(model, ROWS, SITES)
    got = record(model.hf, ROWS, SITES)
    assert all(torch.equal(got[site], expected[site]) for site in SITES)


@pytest.mark.parametrize("span", SPANS)
def test_an_attached_plan_applies_to_its_own_span(model: Model, span: str) -> None:
    v = tiny.vector()
    with attach(model, add(resid_post(1), v, span=span)):
        got = record(model, PAIRS, resid_post(1), pool="none")[resid_post(1)]
    for states, (prompt, answer) in zip(got, PAIRS, strict=True):
        expected = _alone(model, prompt + answer)[resid_post(1)].clone()
        for i in SPANS[span](len(prompt), len(prompt) + len(answer)):
            expected[i] += v
        torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)


def test_lengths_told_outside_do_not_matter(model: Model) -> None:
    expected = record(model, PAIRS, final, span="prompt", pool="mean")[final]
    with prompts([1]):
        got = record(model, PAIRS, final, span="prompt", pool="mean")[final]
    assert torch.equal(got, expected)


def test_half_precision_is_read_in_float32(model: Model) -> None:
    model.hf.bfloat16()
    got = record(model, ROWS[2:3], final, pool="mean")[final]
    states = _alone(model, ROWS[2])[final]
    assert states.dtype == torch.bfloat16
    torch.testing.assert_close(got[0], states.double().mean(0).float(), rtol=1e-5, atol=1e-6)


def _count(model: Model) -> tuple[Counter[str], list[int]]:
    """Counts calls of later layers and the LM head, and the tokens of each pass."""
    calls: Counter[str] = Counter()
    tokens: list[int] = []

    def counting(name: str, inner: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            if name == "model":
                tokens.append(kwargs["input_ids"].numel())
            return inner(*args, **kwargs)

        return forward

    parts: dict[str, nn.Module] = {"head": model.hf.lm_head, "norm": model.hf.model.norm}
    parts |= {f"layer {n}": layer for n, layer in enumerate(model.hf.model.layers)}
    parts["model"] = model.hf.model.embed_tokens
    for name, module in parts.items():
        module.forward = counting(name if name != "model" else "embed", module.forward)
    model.hf.forward = counting("model", model.hf.forward)
    return calls, tokens


def test_passes_are_few_and_short(model: Model) -> None:
    calls, tokens = _count(model)
    record(model, ROWS, [resid_post(1), resid_pre(1)], batch_tokens=12)
    # Without duplicates the lengths are 7, 5, 3, 2, 1: batches of 1 x 7, 2 x 5 and 2 x 2.
    assert tokens == [7, 10, 4]
    assert calls == {"model": 3, "embed": 3, "layer 0": 3, "layer 1": 3}


@pytest.mark.parametrize(
    ("site", "ran"), [(embed, 0), (heads(2), 3), (resid_post(1), 2), (final, 4)], ids=str
)
def test_nothing_above_the_highest_site_runs(any_model: Model, site: Site, ran: int) -> None:
    seen: list[nn.Module] = []
    watched = [*any_model.anatomy.layers, any_model.hf.lm_head]
    handles = [m.register_forward_pre_hook(lambda m, _: seen.append(m)) for m in watched]
    record(any_model, [[5, 6], [7, 8]], [embed, site])
    assert seen == watched[:ran]
    for handle in handles:
        handle.remove()


def test_a_steered_model_is_read_as_one_edited_by_hand(model: Model) -> None:
    v = tiny.vector()
    with attach(model, add(mlp_out(0), v, span="generated")):
        got = record(model, PAIRS, SITES, batch_tokens=8)
    for n, (prompt, answer) in enumerate(PAIRS):
        chosen = parts.chosen("generated", len(prompt), len(prompt + answer))
        with parts.changing(model.hf.model.layers[0].mlp, parts.adding(v, chosen)):
            expected = _alone(model, prompt + answer)
        for site in SITES:
            torch.testing.assert_close(got[site][n], expected[site][-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["t5", "bart"])
@torch.no_grad()
def test_an_encoder_decoder_reads_with_its_decoder(family: str) -> None:
    hf = families.network(family)
    got = record(hf, ROWS, [embed, resid_post(1)], pool="none", batch_tokens=12)
    for n, row in enumerate(ROWS):
        given = {"input_ids": torch.tensor([[0]]), "decoder_input_ids": torch.tensor([row])}
        states = hf(**given, output_hidden_states=True).decoder_hidden_states
        torch.testing.assert_close(got[resid_post(1)][n], states[2][0], rtol=1e-4, atol=1e-4)
    assert [len(states) for states in got[embed]] == [len(row) for row in ROWS]


def test_a_mask_is_refused(model: Model) -> None:
    mask = masked(torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(DataError, match="^record: a mask belongs to one batch; use capture, or an"):
        record(model, [[5, 6], [7, 8]], final, span=mask)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "^record: no rows given$"),
        ([[5], []], {}, "^record: expected rows of at least one token each, got an empty one$"),
        (["the", ""], {}, "^record: expected rows of at least one token each, got an empty one$"),
        ([[5]], {"pool": "max"}, "^record: unknown pool 'max'; expected last, mean or none$"),
        ([[5], [6]], {"span": "generated"}, "span generated selects no token of 2 rows$"),
        ([([5], [6]), ([5], [])], {"span": "generated"}, "generated selects no token of 1 rows$"),
        ([([], [5])], {"span": "last"}, "^record: span last selects no token of 1 rows$"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(
    model: Model, rows: list[Any], options: dict[str, Any], message: str
) -> None:
    with onerow.unchecked(), pytest.raises(DataError, match=message):
        record(model, rows, final, **options)
    assert tiny.hook_count(model.hf) == 0


@pytest.mark.parametrize(
    ("sites", "message"),
    [([], "no sites given"), ([final, resid_post(9)], "^site resid_post.9: the model has 4")],
)
def test_sites_that_cannot_be_read_are_refused(
    model: Model, sites: list[Site], message: str
) -> None:
    with pytest.raises(SiteError, match=message):
        record(model, ROWS, sites)
    assert tiny.hook_count(model.hf) == 0


def test_a_bar_is_shown_if_asked_for(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    record(model, ROWS, final)
    assert capsys.readouterr() == ("", "")
    record(model, ROWS, final, progress=True, batch_tokens=12)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading activations" in err
    assert "3/3" in err


@pytest.mark.parametrize("read", [record, moments])
def test_plans_for_rows_are_refused_as_rows_are_sorted(model: Model, read: Any) -> None:
    plan = add(resid_post(1), tiny.vector())
    rows = [[5, 6], [7, 8, 9, 10]]
    message = "the model is steered by plans for 2 rows, but the rows are put in another order here"
    for plans in ([plan, None], plan * torch.tensor([1.0, 0.0])):
        with pytest.raises(RunError, match=message), attach(model, plans):
            read(model, rows, resid_post(2))
    with attach(model, [plan]):
        read(model, rows, resid_post(2))
