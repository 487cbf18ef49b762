"""A plan for each row of a batch does to the row what it does to it alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from steer.hooks import (
    DataError,
    Model,
    Plan,
    PlanError,
    ablate,
    add,
    affine,
    after,
    attach,
    attn_out,
    clamp,
    embed,
    final,
    first,
    heads,
    mlp_out,
    prompts,
    replace,
    resid_post,
    resid_pre,
    rotate,
    router,
    scale_experts,
)

ROWS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15, 16]]
LENGTHS = [4, 1, 2]  # of the prompts, where a pass holds a continuation
V = [tiny.vector(n) for n in range(8)]
A = add(resid_post(1), V[0], strength=2.0)
B = ablate(resid_pre(2), V[1], span="last") + add(embed, V[2], span="prompt", keep_norm=True)
PLANS: dict[str, list[Plan | None]] = {
    "one edit": [A, None, 2.0 * A],
    "other vectors": [A, add(resid_post(1), V[3]), add(resid_post(1), V[4], strength=-1.0)],
    "other spans": [A.on("last"), A.on(first(1)), A.on(~after(14))],
    "other edits": [
        A,
        rotate(resid_post(1), V[1], 30.0),
        replace(resid_post(1), V[2], span="last"),
    ],
    "other sites": [A, B, clamp(mlp_out(3), V[3], 0.5, 0.9)],
    "other numbers": [A + B + A + rotate(final, V[5], -20.0), None, B + 0.5 * A],
    "other ranks": [
        affine(attn_out(1), torch.stack(V[:3]), 0.1 * torch.stack(V[3:6])),
        affine(attn_out(1), V[6].view(1, -1), 0.1 * V[7].view(1, -1), V[0], span="generated"),
        None,
    ],
    "heads": [None, add(heads(0), V[1], strength=3.0), ablate(heads(0), V[2])],
    "nothing": [0.0 * A, Plan(()), A],
}
every = pytest.mark.parametrize("plans", PLANS.values(), ids=PLANS)
OPTIONS = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}


def _alone(model: Model, plan: Plan | None, row: list[int], prompt: int) -> Tensor:
    with torch.no_grad(), attach(model, plan), prompts([prompt]):
        return model.hf(torch.tensor([row])).logits[0]


def _together(model: Model, plans: Any, rows: list[list[int]], pad: str = "left") -> list[Tensor]:
    batch = model.batch(rows, pad=pad)
    each = len(rows) // len(ROWS)
    lengths = [length for length in LENGTHS for _ in range(each)]
    with torch.no_grad(), attach(model, plans), prompts(lengths):
        out = model.hf(**batch).logits
    return [o[m.bool()] for o, m in zip(out, batch["attention_mask"], strict=True)]


def _generate(model: Model, plans: Any, rows: list[list[int]], **options: Any) -> Any:
    batch = model.batch(rows)
    del batch["position_ids"]
    with attach(model, plans):
        return model.hf.generate(**batch, **(OPTIONS | options))


@every
@pytest.mark.parametrize("pad", ["left", "right"])
def test_a_pass_does_to_each_row_what_its_plan_does_alone(
    any_model: Model, plans: list[Plan | None], pad: str
) -> None:
    got = _together(any_model, plans, ROWS, pad)
    for out, plan, row, prompt in zip(got, plans, ROWS, LENGTHS, strict=True):
        expected = _alone(any_model, plan, row, prompt)
        torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)
        if plan is not None and len(plan) and not plan.interventions[0].does_nothing:
            assert (out - _alone(any_model, None, row, prompt)).abs().max() > 1e-2


@every
def test_rows_next_to_each_other_share_a_plan(model: Model, plans: list[Plan | None]) -> None:
    rows = [row for pair in zip(ROWS, [row[::-1] for row in ROWS], strict=True) for row in pair]
    got = _together(model, plans, rows)
    for r, out in enumerate(got):
        expected = _alone(model, plans[r // 2], rows[r], LENGTHS[r // 2])
        torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)


@every
@pytest.mark.parametrize("way", [{}, {"use_cache": False}, {"prefill_chunk_size": 4}])
def test_generation_does_to_each_row_what_its_plan_does_alone(
    any_model: Model, plans: list[Plan | None], way: dict[str, Any]
) -> None:
    got = _generate(any_model, plans, ROWS, **way)[:, -4:]
    for out, plan, row in zip(got, plans, ROWS, strict=True):
        assert out.tolist() == _generate(any_model, plan, [row])[0, -4:].tolist()


@every
@pytest.mark.parametrize("pad", ["left", "right"])
def test_a_row_without_a_plan_is_bit_identical(
    model: Model, plans: list[Plan | None], pad: str
) -> None:
    unsteered = _together(model, None, ROWS, pad)
    for out, before, plan in zip(_together(model, plans, ROWS, pad), unsteered, plans, strict=True):
        assert plan is not None or torch.equal(out, before)


@every
def test_beams_are_those_of_the_prompt_alone(model: Model, plans: list[Plan | None]) -> None:
    got = _generate(model, plans, ROWS, num_beams=3, num_return_sequences=2)[:, -4:].tolist()
    for r, (plan, row) in enumerate(zip(plans, ROWS, strict=True)):
        alone = _generate(model, plan, [row], num_beams=3, num_return_sequences=2)[:, -4:]
        assert got[2 * r : 2 * r + 2] == alone.tolist()


@every
@pytest.mark.parametrize("seed", [0, 1])
def test_samples_are_drawn_from_the_logits_of_the_prompt_alone(
    model: Model, plans: list[Plan | None], seed: int
) -> None:
    torch.manual_seed(seed)
    wanted = {"return_dict_in_generate": True, "output_logits": True}
    out = _generate(model, plans, ROWS, do_sample=True, num_return_sequences=2, **wanted)
    logits = torch.stack(out.logits, 1)
    for r, sequence in enumerate(out.sequences.tolist()):
        row = ROWS[r // 2]
        whole = row + sequence[-4:]
        expected = _alone(model, plans[r // 2], whole, len(row))[len(row) - 1 : -1]
        torch.testing.assert_close(logits[r], expected, rtol=1e-3, atol=1e-3)


def test_routers_have_plans_of_rows() -> None:
    model = tiny.model("qwen3_moe")
    plans = [
        scale_experts(router(1), {0: 3.0, 2: 0.0}),
        None,
        scale_experts(router(1), {1: -2.0}, span="last") + A,
    ]
    got = _together(model, plans, ROWS)
    for out, plan, row, prompt in zip(got, plans, ROWS, LENGTHS, strict=True):
        torch.testing.assert_close(out, _alone(model, plan, row, prompt), rtol=1e-3, atol=1e-3)
    assert (got[0] - _alone(model, None, ROWS[0], 4)).abs().max() > 1e-2


def test_an_expert_that_there_is_not_is_refused() -> None:
    model = tiny.model("qwen3_moe")
    plan = scale_experts(router(1), {4: 2.0})
    with pytest.raises(PlanError, match="expert"), attach(model, plan):
        model.hf(torch.tensor([[5, 6]]))


@pytest.mark.parametrize("kind", ["numbers", "one tensor", "tensors"])
def test_a_strength_for_each_row_is_a_plan_for_each_row(model: Model, kind: str) -> None:
    strengths = [0.5, 0.0, -3.0]
    plan = rotate(resid_pre(1), V[1], 20.0) + A.on("last") + B
    scaled = [s * plan for s in strengths]
    given: Any = {
        "numbers": scaled,
        "one tensor": plan * torch.tensor(strengths),
        "tensors": [plan * torch.tensor(s) for s in strengths],
    }[kind]
    got = _together(model, given, ROWS)
    for out, own, row, prompt in zip(got, scaled, ROWS, LENGTHS, strict=True):
        torch.testing.assert_close(out, _alone(model, own, row, prompt), rtol=1e-3, atol=1e-3)


def test_each_row_gives_its_strength_a_gradient_of_its_own(model: Model) -> None:
    strength = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    plan = rotate(resid_pre(1), V[1], 20.0) + add(resid_post(2), V[2])
    batch = model.batch(ROWS)
    with attach(model, plan.at(strength)):
        model.hf(**batch).logits[:, -1, :5].sum().backward()
    assert strength.grad is not None
    for s, grad, row in zip(strength.tolist(), strength.grad, ROWS, strict=True):
        ends = []
        for moved in (s + 2e-3, s - 2e-3):
            ends.append(float(_alone(model, plan.at(moved), row, len(row))[-1, :5].sum()))
        assert float(grad) == pytest.approx((ends[0] - ends[1]) / 4e-3, rel=0.02, abs=0.02)
        assert abs(float(grad)) > 0.05


@pytest.mark.parametrize("order", ["rows inside", "rows outside", "rows in rows"])
def test_blocks_nest(model: Model, order: str) -> None:
    plans = PLANS["other edits"]
    outer: Any = {"rows inside": B, "rows outside": plans, "rows in rows": PLANS["other sites"]}[
        order
    ]
    inner: Any = B if order == "rows outside" else plans
    batch = model.batch(ROWS)
    with torch.no_grad(), attach(model, outer), attach(model, inner):
        got = model.hf(**batch).logits
    for r, row in enumerate(ROWS):
        one, two = (p[r] if isinstance(p, list) else p for p in (outer, inner))
        expected = _alone(model, one + two, row, len(row))
        torch.testing.assert_close(got[r, -len(row) :], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("plans", "size"), [([A, None], 3), (A.at(torch.ones(2)), 3), ([A, None, B, A], 3)]
)
def test_a_batch_that_is_no_multiple_is_refused(model: Model, plans: Any, size: int) -> None:
    count = 2 if isinstance(plans, Plan) else len(plans)
    message = f"^attach: {count} plans do not divide a batch of {size} rows; give one plan a row"
    for run in (
        lambda: model.hf(**model.batch(ROWS)),
        lambda: model.hf.generate(**model.batch(ROWS), **OPTIONS),
    ):
        with pytest.raises(DataError, match=message), attach(model, plans):
            run()
    assert tiny.hook_count(model.hf) == 0


def test_wrong_lists_are_refused(model: Model) -> None:
    with pytest.raises(
        PlanError, match="^attach: expected a plan for each row, got an empty list$"
    ):
        attach(model, []).__enter__()
    with pytest.raises(PlanError, match="^attach: strengths for 2 rows in 2 plans; give one plan"):
        attach(model, [A.at(torch.ones(2)), None]).__enter__()
    assert tiny.hook_count(model.hf) == 0


def test_a_list_of_none_does_nothing(model: Model) -> None:
    with attach(model, [None, None]):
        assert tiny.hook_count(model.hf) == 0
