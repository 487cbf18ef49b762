"""One plan of several sites and spans on a padded batch, for what is wrapped around a model."""

from typing import Any

import torch
from torch import Tensor

import tiny
from steer.hooks import (
    Plan,
    Site,
    ablate,
    add,
    attn_out,
    embed,
    final,
    heads,
    mlp_out,
    resid_post,
    resid_pre,
    router,
    scale_experts,
)

IDS = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 11, 12]])
MASK = (IDS != 0).long()
REAL = MASK.bool()
GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
TEXTS = ["the sky is", "What is the big old sea ?"]
V = tiny.vector()


BACKEND_FAMILIES = ("gpt2", "llama", "gemma3", "qwen3", "qwen3_moe")
SPANS = ("all", "prompt", "generated", "last")
SITES = (embed, resid_pre(1), heads(1), attn_out(1), mlp_out(1), resid_post(1), final)


def sites_of(family: str) -> tuple[Site, ...]:
    return (*SITES, router(1)) if family == "qwen3_moe" else SITES


def plan_at(site: Site, span: Any = "all") -> Plan:
    if site.kind == "router":
        return scale_experts(site, {0: 0.0, 1: 3.0, 2: 0.5}, span=span)
    v, w = tiny.vector(3), tiny.vector(8)
    return add(site, v, strength=4.0, span=span, keep_norm=True) + ablate(site, w, span=span)


def everywhere(family: str, span: Any) -> Plan:
    return sum(plan_at(site, span) for site in sites_of(family))


PLAN = plan_at(resid_post(1)) + plan_at(mlp_out(2), "last") + plan_at(resid_pre(3), "generated")


def logits(model: Any) -> Tensor:
    out: Tensor = model(input_ids=IDS, attention_mask=MASK).logits[REAL]
    return out


def generated(hf: Any) -> list[list[int]]:
    out: list[list[int]] = hf.generate(input_ids=IDS, attention_mask=MASK, **GREEDY).tolist()
    return out
