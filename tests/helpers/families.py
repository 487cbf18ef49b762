"""Tiny random models of many families, built offline, text only or with images."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BloomConfig,
    BloomForCausalLM,
    CLIPVisionConfig,
    CohereConfig,
    CohereForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    MptConfig,
    MptForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    StableLmConfig,
    StableLmForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import tiny

COMMON = tiny._COMMON
WINDOW = 8
_IDS = {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_FULL = {k: v for k, v in COMMON.items() if k != "head_dim"} | {"num_key_value_heads": 4}
_TOP2 = {"num_experts": 4, "num_experts_per_tok": 2}
_GPT = _IDS | {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 256}
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
_IMAGE = 63
_TEXT = COMMON | {"vocab_size": 64}  # 60 to 63 mark an image
_MIXED = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}


def _made(
    model: Callable[..., PreTrainedModel], config: type[PreTrainedConfig], **sizes: object
) -> Callable[[], PreTrainedModel]:
    return lambda: model(config(**sizes))


def _falcon(**sizes: object) -> Callable[[], PreTrainedModel]:
    return _made(FalconForCausalLM, FalconConfig, **_FULL, ffn_hidden_size=48, **sizes)


def _llava() -> PreTrainedModel:
    vision = CLIPVisionConfig(**_VISION, projection_dim=16)
    text = LlamaConfig(**_TEXT)
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=_IMAGE)
    )


def _gemma3_vlm() -> PreTrainedModel:
    return Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config=Gemma3TextConfig(**_TEXT, **_MIXED),
            vision_config=SiglipVisionConfig(**_VISION, vision_use_head=False),
            mm_tokens_per_image=4,
            image_token_index=_IMAGE,
            boi_token_index=61,
            eoi_token_index=62,
        )
    )


def _smolvlm() -> PreTrainedModel:
    return SmolVLMForConditionalGeneration(
        SmolVLMConfig(
            text_config=LlamaConfig(**_TEXT).to_dict(),
            vision_config=_VISION | {"image_size": 16},
            image_token_id=_IMAGE,
            scale_factor=2,
            pad_token_id=0,
        )
    )


def _qwen2_5_vl() -> PreTrainedModel:
    rope = _ROPE | {"mrope_section": [1, 1, 2]}
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "out_hidden_size": 32,
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=_TEXT | {"rope_parameters": rope},
            vision_config=vision,
            image_token_id=_IMAGE,
            video_token_id=62,
            vision_start_token_id=60,
            vision_end_token_id=61,
        )
    )


_BART = {"d_model": 32, "decoder_start_token_id": 2, "forced_eos_token_id": None} | {
    f"{side}_{size}": value
    for side in ("encoder", "decoder")
    for size, value in (("layers", 4), ("attention_heads", 4), ("ffn_dim", 48))
}
_DEEPSEEK = {
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 12,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}
_LLAMA4 = {
    "intermediate_size_mlp": 48,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": WINDOW,
    "no_rope_layers": [1, 1, 1, 0],
}
_SLIDING = COMMON | {"sliding_window": WINDOW}
_BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    "bart": _made(BartForConditionalGeneration, BartConfig, **_IDS, **_BART),
    "bloom": _made(BloomForCausalLM, BloomConfig, **_IDS, hidden_size=32, n_layer=4, n_head=4),
    "cohere": _made(CohereForCausalLM, CohereConfig, **COMMON, logit_scale=1.0),
    "deepseek_v3": _made(DeepseekV3ForCausalLM, DeepseekV3Config, **_FULL, **_DEEPSEEK),
    "falcon": _falcon(multi_query=True, parallel_attn=True, new_decoder_architecture=False),
    "falcon_new": _falcon(new_decoder_architecture=True, num_kv_heads=2),
    "falcon_sequential": _falcon(multi_query=True, parallel_attn=False, alibi=True, bias=True),
    "gemma2": _made(Gemma2ForCausalLM, Gemma2Config, **_SLIDING, query_pre_attn_scalar=8),
    "gemma3": _made(Gemma3ForCausalLM, Gemma3TextConfig, **COMMON, **_MIXED),
    "gemma3_vlm": _gemma3_vlm,
    "gpt2": _made(GPT2LMHeadModel, GPT2Config, **_GPT),
    "gpt_neox": _made(GPTNeoXForCausalLM, GPTNeoXConfig, **_FULL),
    "gpt_oss": _made(
        GptOssForCausalLM,
        GptOssConfig,
        **_SLIDING,
        num_local_experts=4,
        num_experts_per_tok=2,
        rope_parameters=_ROPE,
    ),
    "gptj": _made(GPTJForCausalLM, GPTJConfig, **_GPT, rotary_dim=4),
    "granite": _made(
        GraniteForCausalLM,
        GraniteConfig,
        **COMMON,
        residual_multiplier=0.5,
        embedding_multiplier=2.0,
        attention_multiplier=0.25,
        logits_scaling=2.0,
    ),
    "llama": _made(LlamaForCausalLM, LlamaConfig, **COMMON),
    "llama4": _made(Llama4ForCausalLM, Llama4TextConfig, **COMMON, **_LLAMA4),
    "llava": _llava,
    "mistral": _made(MistralForCausalLM, MistralConfig, **_SLIDING),
    "mixtral": _made(MixtralForCausalLM, MixtralConfig, **_SLIDING, num_local_experts=4),
    "mpt": _made(
        MptForCausalLM,
        MptConfig,
        **_IDS,
        d_model=32,
        n_layers=4,
        n_heads=4,
        max_seq_len=256,
        use_cache=True,
    ),
    "olmo2": _made(Olmo2ForCausalLM, Olmo2Config, **COMMON),
    "olmoe": _made(OlmoeForCausalLM, OlmoeConfig, **COMMON, **_TOP2),
    "opt": _made(OPTForCausalLM, OPTConfig, **COMMON, ffn_dim=48, word_embed_proj_dim=32),
    "phi3": _made(Phi3ForCausalLM, Phi3Config, **_SLIDING),
    "qwen2": _made(
        Qwen2ForCausalLM, Qwen2Config, **_SLIDING, use_sliding_window=True, max_window_layers=2
    ),
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen2_moe": _made(
        Qwen2MoeForCausalLM,
        Qwen2MoeConfig,
        **COMMON,
        **_TOP2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=24,
    ),
    "qwen3": _made(Qwen3ForCausalLM, Qwen3Config, **COMMON),
    "qwen3_moe": _made(
        Qwen3MoeForCausalLM, Qwen3MoeConfig, **COMMON, **_TOP2, moe_intermediate_size=16
    ),
    "smolvlm": _smolvlm,
    "stablelm": _made(StableLmForCausalLM, StableLmConfig, **_FULL),
    "t5": _made(
        T5ForConditionalGeneration,
        T5Config,
        **_IDS | {"decoder_start_token_id": 0, "d_model": 32, "d_kv": 8, "d_ff": 48},
        num_layers=4,
        num_heads=4,
        tie_word_embeddings=False,  # tied, its logits are divided by 32 ** 0.5
    ),
}
FAMILIES = tuple(_BUILDERS)
ENCODER_DECODERS = frozenset({"bart", "t5"})
IMAGES = dict.fromkeys(("gemma3_vlm", "llava", "qwen2_5_vl", "smolvlm"), _IMAGE)


def network(family: str, seed: int = 0) -> PreTrainedModel:
    """A random transformers model in evaluation mode, with weights large enough to matter."""
    torch.manual_seed(seed)
    hf = _BUILDERS[family]().float()
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
        if family in IMAGES:  # a decoded image token would ask for an image of its own
            hf.get_output_embeddings().weight[COMMON["vocab_size"] :] = 0
    return hf.eval()


def image_inputs(family: str, rows: list[list[int]]) -> dict[str, Tensor]:
    """A left-padded batch with one image a row after its first token, as `hf` takes it."""
    images = [[*row[:1], *_placeholders(family), *row[1:]] for row in rows]
    width = max(map(len, images))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in images])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in images])
    inputs = {"input_ids": ids, "attention_mask": mask}
    source, n = torch.Generator().manual_seed(1), len(rows)
    image = (ids == _IMAGE).long()
    if family == "gemma3_vlm":
        inputs["token_type_ids"] = image
    if family == "qwen2_5_vl":  # 4 x 4 patches of 2 frames a row, merged 2 x 2 to one token
        inputs["mm_token_type_ids"] = image
        inputs["image_grid_thw"] = torch.tensor([[1, 4, 4]] * n)
        inputs["pixel_values"] = torch.randn(16 * n, 3 * 2 * 4 * 4, generator=source)
    elif family == "smolvlm":  # 4 x 4 patches, shuffled 2 x 2 to one token
        inputs["pixel_values"] = torch.randn(n, 1, 3, 16, 16, generator=source)
    else:
        inputs["pixel_values"] = torch.randn(n, 3, 8, 8, generator=source)
    return inputs


def _placeholders(family: str) -> list[int]:
    around = {"gemma3_vlm": (61, 62), "qwen2_5_vl": (60, 61)}.get(family)
    image = [_IMAGE] * 4
    return image if around is None else [around[0], *image, around[1]]
