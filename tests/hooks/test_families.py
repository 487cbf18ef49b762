"""Every family of `families`, against plain torch hooks on the modules in the table of `parts`."""

from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import families
import parts
import tiny
from steer.hooks import (
    Model,
    Plan,
    Site,
    SiteError,
    ablate,
    add,
    attach,
    attn_out,
    embed,
    final,
    heads,
    mlp_out,
    resid_post,
    resid_pre,
    router,
)

FAMILIES = families.FAMILIES
V = tiny.vector()
ROWS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [30, 31, 32, 33]]  # the first exceeds the windows
LAYER = 1
# BART counts the places of its decoder from the first column and takes no position_ids.
NO_LEFT = {"bart"}
PADDED = [(f, p) for f in FAMILIES for p in ("left", "right") if not (p == "left" and f in NO_LEFT)]


def _layers(model: Model, family: str) -> list[nn.Module]:
    return list(model.hf.get_submodule(parts.PARTS[family].layers))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_found_are_those_of_the_source(family: str) -> None:
    model = parts.model(family)
    kinds = ("resid_pre", "resid_post", "attn_out", "mlp_out", "heads", "router")
    sites = [Site(kind, n) for kind in kinds for n in range(parts.LAYERS)] + [embed, final]
    assert model.n_layers == parts.LAYERS
    for site in sites:
        module = parts.part(model.hf, family, site.kind, site.layer or 0)
        if module is None:
            with pytest.raises(SiteError, match=f"^site {site}: .*name .* with places="):
                model.check(site)
            continue
        model.check(site)
        assert model.anatomy.module(site) is module, site
        wide = {"heads": parts.HEADS * parts.HEAD_DIM, "router": parts.EXPERTS}
        assert model.width(site) == wide.get(site.kind, parts.D)


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_zero_and_no_plan_change_no_bit(family: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS, "right")
    base = parts.logits(model.hf, inputs)
    somewhere = add(resid_post(LAYER), V) + add(attn_out(0), V) + add(embed, V)
    for plan in (None, 0.0 * somewhere, somewhere.at(torch.tensor(0.0))):
        with attach(model, plan):
            assert torch.equal(parts.logits(model.hf, inputs), base)
    with attach(model, somewhere):
        assert not torch.allclose(parts.logits(model.hf, inputs), base, atol=0.1)


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_vector_is_added_to_real_tokens_of_one_layer(family: str, pad: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS, pad)
    real = parts.real(inputs)
    with parts.reading(_layers(model, family)) as seen:
        parts.logits(model.hf, inputs)
        with attach(model, add(resid_post(LAYER), V)):
            parts.logits(model.hf, inputs)
    for base, steered in seen[:LAYER]:
        assert torch.equal(steered, base)
    base, steered = seen[LAYER]
    assert torch.equal(steered[real], base[real] + V)
    assert torch.equal(steered[~real], base[~real])
    assert not torch.allclose(seen[LAYER + 1][0][real], seen[LAYER + 1][1][real], atol=0.1)


PLAN: Plan = (
    add(resid_post(LAYER), V, span="last")
    + add(attn_out(2), V)
    + ablate(mlp_out(2), V, strength=0.5)
    + add(heads(3), V, keep_norm=True)
)


@pytest.mark.parametrize(("family", "pad"), PADDED)
def test_a_padded_row_is_the_row_alone(family: str, pad: str) -> None:
    model = parts.model(family)
    inputs = parts.batch(family, ROWS, pad)
    base = parts.logits(model.hf, inputs)
    with attach(model, PLAN):
        together = parts.logits(model.hf, inputs)
        alone = [parts.logits(model.hf, parts.batch(family, [row]))[0] for row in ROWS]
    for r, real in enumerate(parts.real(inputs)):
        torch.testing.assert_close(together[r][real], alone[r], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(base[r][real], alone[r], atol=0.1)


@pytest.mark.parametrize("family", sorted(NO_LEFT))
def test_left_padding_moves_the_places_of_a_model_that_takes_none(family: str) -> None:
    hf = parts.model(family).hf
    inputs = parts.batch(family, ROWS, "left")
    short = parts.logits(hf, parts.batch(family, ROWS[1:]))[0]
    assert not torch.allclose(parts.logits(hf, inputs)[1, -4:], short, atol=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_another_neighbour_changes_nothing(family: str) -> None:
    model = parts.model(family)
    pair, other = ([ROWS[0], row] for row in (ROWS[1], [40, 41, 42, 43]))
    with attach(model, PLAN):
        first, second = (
            parts.logits(model.hf, parts.batch(family, rows, "right")) for rows in (pair, other)
        )
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=1e-5)
    assert not torch.allclose(first[1], second[1], atol=0.1)


def _prompts(family: str) -> list[list[int]]:
    """Decoders after an encoder begin with their start token, and here with equal lengths."""
    start = {"bart": 2, "t5": 0}.get(family)
    return ROWS if start is None else [[start, *row[:3]] for row in ROWS]


def _by_hand(model: Model, family: str, row: list[int], span: str, prompt: int) -> Tensor:
    """`[tokens, vocab]` of one unpadded row in one uncached pass, edited by token index."""
    inputs = parts.batch(family, [row])
    here = parts.chosen(span, prompt, len(row))
    module = _layers(model, family)[LAYER]
    with parts.changing(module, parts.adding(2 * V, here)):
        return parts.logits(model.hf, inputs)[0]


@pytest.mark.parametrize("span", ["all", "prompt", "generated", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_generation_is_full_passes_edited_by_hand(family: str, span: str) -> None:
    model, prompts = parts.model(family), _prompts(family)
    inputs = parts.batch(family, prompts)
    with attach(model, add(resid_post(LAYER), V, strength=2.0, span=span)):
        tokens, cached = parts.generated(model.hf, inputs)
        again, uncached = parts.generated(model.hf, inputs, use_cache=False)
    assert torch.equal(tokens, again)
    torch.testing.assert_close(cached, uncached, rtol=1e-4, atol=1e-4)
    _, plain = parts.generated(model.hf, inputs)
    assert not torch.allclose(cached[:, -1], plain[:, -1], atol=0.1)
    for row, new, scores in zip(prompts, tokens.tolist(), cached, strict=True):
        full = _by_hand(model, family, row + new[:-1], span, len(row))
        torch.testing.assert_close(scores, full[len(row) - 1 :], rtol=1e-4, atol=1e-4)
        assert full[len(row) - 1 :].argmax(-1).tolist() == new


def _insides(model: Model) -> list[dict[str, Any]]:
    return [dict(vars(module)) for module in model.hf.modules()]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_after_a_block(family: str) -> None:
    model = parts.model(family)
    routed = parts.PARTS[family].routed
    plan = PLAN + add(resid_pre(0), V) + add(embed, V)
    if family != "bart":  # it has no norm after the layers
        plan += add(final, V)
    inputs = parts.batch(family, _prompts(family))
    base = parts.logits(model.hf, inputs)
    before, count = _insides(model), tiny.hook_count(model.hf)
    for fails in (False, True):
        with suppress(KeyError), attach(model, plan):
            assert tiny.hook_count(model.hf) > count
            assert not torch.equal(parts.logits(model.hf, inputs), base)
            if fails:
                raise KeyError
        assert tiny.hook_count(model.hf) == count
        assert _insides(model) == before
        assert torch.equal(parts.logits(model.hf, inputs), base)
    assert bool(routed) == any(site.kind == "router" for site in model.anatomy.sites())
    assert all(router(n) in set(model.anatomy.sites()) for n in routed)
