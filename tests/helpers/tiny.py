"""Tiny seeded models and a word tokenizer, built offline; what every test runs on."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from steer.hooks import Model

WORDS = [
    "Q:",
    "A:",
    "What",
    "Who",
    "Where",
    "Is",
    "Are",
    "the",
    "a",
    "an",
    "sky",
    "sea",
    "sun",
    "moon",
    "cat",
    "dog",
    "bird",
    "fish",
    "blue",
    "green",
    "red",
    "white",
    "black",
    "big",
    "small",
    "not",
    "it",
    "is",
    "was",
    "yes",
    "no",
    "Paris",
    "Lyon",
    "London",
    "Rome",
    "river",
    "of",
    "in",
    "and",
    "or",
    "fire",
    "ice",
    "hot",
    "cold",
    "fast",
    "slow",
    "old",
    "new",
    "one",
    "two",
    "three",
    "four",
    "five",
    ".",
    "?",
    "!",
]
D_MODEL, N_LAYERS = 32, 4


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; joined by spaces, so that a prompt's tokens are a prefix of any text's."""
    vocab = {w: i for i, w in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


_COMMON = {
    "vocab_size": 4 + len(WORDS),
    "hidden_size": D_MODEL,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**_COMMON))


def _gemma3() -> PreTrainedModel:
    return Gemma3ForCausalLM(Gemma3TextConfig(**_COMMON, sliding_window=8))


def _qwen3_moe() -> PreTrainedModel:
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**_COMMON, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    )


def _gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=_COMMON["vocab_size"],
            n_embd=D_MODEL,
            n_layer=N_LAYERS,
            n_head=4,
            n_positions=256,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


_BUILDERS = {"llama": _llama, "gemma3": _gemma3, "gpt2": _gpt2, "qwen3_moe": _qwen3_moe}
FAMILIES = tuple(_BUILDERS)


def network(family: str = "llama", seed: int = 0) -> PreTrainedModel:
    """A random transformers model in evaluation mode, with weights large enough to matter.

    The default initialisation (standard deviation 0.02) gives near-uniform outputs, under which a
    wrong edit would hide.
    """
    torch.manual_seed(seed)
    hf = _BUILDERS[family]()
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    return hf.eval()


def model(family: str = "llama", seed: int = 0) -> Model:
    """The same with the tokenizer, as a `Model`."""
    return Model(network(family, seed), tokenizer(), name=f"tiny-{family}")


def vector(seed: int = 0, size: int = D_MODEL) -> torch.Tensor:
    """A random vector."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def hook_count(hf: PreTrainedModel) -> int:
    """How many hooks of any kind all modules hold together."""
    kinds = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_pre_hooks_with_kwargs",
        "_forward_hooks_always_called",
    )
    return sum(len(getattr(module, kind)) for module in hf.modules() for kind in kinds)
