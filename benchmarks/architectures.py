"""How many decoder architectures of transformers can be steered, each as a small random model.

    python benchmarks/architectures.py

Every causal language model that transformers registers is built from its own default configuration
with small sizes put in. A vector is added after layer 1, in one pass and to what `generate` makes,
with and without a cache. Prints one JSON line for each, and the counts. Configurations that do not
take these sizes are counted apart: they say nothing.
"""

import json
import os
import signal
import warnings
from collections import Counter
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import steer

WIDTHS = ("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim")
INNER = ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "decoder_ffn_dim", "encoder_ffn_dim")
DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
RANKS = ("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
SIZES: dict[str, int] = {
    **dict.fromkeys(WIDTHS, 32),
    **dict.fromkeys((*INNER, "ffn_hidden_size"), 48),
    **dict.fromkeys((*DEPTHS, *HEADS, *EXPERTS, "rotary_dim", "encoder_attention_heads"), 4),
    **dict.fromkeys(RANKS, 8),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    **{"vocab_size": 64, "num_key_value_heads": 2, "head_dim": 8, "encoder_layers": 2},
    **{"num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}


def small(kind: str, cls: str) -> transformers.PreTrainedModel:
    """A random model of an architecture, with small sizes."""
    config_class = CONFIG_MAPPING[kind]
    usual = config_class()
    sizes: dict[str, Any] = {k: v for k, v in SIZES.items() if k in usual.to_dict()}
    layers = sizes.get("num_hidden_layers", 4)
    if getattr(usual, "layer_types", None):
        sizes["layer_types"] = list(usual.layer_types[:layers])
    if "qk_rope_head_dim" in sizes:
        del sizes["head_dim"]
    config = config_class(**sizes)
    config.is_decoder = True
    return getattr(transformers, cls)(config).eval()


def steered(hf: transformers.PreTrainedModel) -> dict[str, Any]:
    """Whether a vector can be added after layer 1, and which sites there are."""
    model = steer.Model(hf)
    found = {row.kind: row.layers for row in steer.sites(model).rows if not row.note}
    if model.findings.unchecked:
        return {"status": "not checked", "why": model.findings.unchecked}
    site, batch = steer.resid_post(1), model.batch([[5, 6, 7, 8]])
    vector = torch.randn(model.d_model)
    before = steer.capture(model, batch, [site])[site]
    with steer.attach(model, steer.add(site, vector)):
        after = steer.capture(model, batch, [site])[site]
    if not torch.equal(after, before + vector):
        return {"status": "WRONG", "why": "one pass"}
    if generated(model, None) is None:
        return {"status": "one pass", "why": "generate fails, or its cache changes what it makes"}
    plan = steer.add(site, 20 * vector, span="generated")
    cached, whole = (generated(model, plan, use_cache=way) for way in (True, False))
    status = "steered" if cached == whole else "WRONG"
    return {"status": status, "sites": sorted(found)}


def generated(model: steer.Model, plan: steer.Plan | None, **options: Any) -> list[int] | None:
    """Six greedy tokens; None if the plain model cannot make them, or not twice alike."""
    ids, fixed = torch.tensor([[5, 6, 7, 8]]), {"max_new_tokens": 6, "do_sample": False}
    if plan is not None:
        with steer.attach(model, plan):
            tokens: list[int] = model.hf.generate(ids, **fixed, **options)[0].tolist()
            return tokens
    try:
        ways = [model.hf.generate(ids, **fixed, use_cache=way)[0].tolist() for way in (True, False)]
    except Exception:  # many kinds: these sizes do not suit its cache
        return None
    return ways[0] if ways[0] == ways[1] else None


def attempt(kind: str, cls: str) -> dict[str, Any]:
    """What became of one architecture."""
    signal.alarm(30)
    try:
        hf = small(kind, cls)
    except Exception as error:  # many kinds: the configuration does not take the sizes
        return {"status": "not built", "why": f"{type(error).__name__}: {error}"[:120]}
    try:
        return steered(hf)
    except steer.SteerError as error:
        return {"status": "refused", "why": str(error)[:200]}
    except Exception as error:
        return {"status": "FAILED", "why": f"{type(error).__name__}: {error}"[:200]}
    finally:
        signal.alarm(0)


def main() -> None:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("30 s")))
    counts: Counter[str] = Counter()
    for kind, cls in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()):
        result = attempt(kind, cls)
        counts[result["status"]] += 1
        print(json.dumps({"architecture": kind, "class": cls} | result), flush=True)
    print(json.dumps(dict(counts)))


if __name__ == "__main__":
    main()
