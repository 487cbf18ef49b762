"""Peak memory of an evaluation, for few items and for many: it should not grow with them.

Run: python benchmarks/eval_memory.py [FEW MANY], by default 1000 10000. A tiny seeded model is
evaluated on made-up questions with two choices, under a plan and its controls, each count in a
process of its own. Prints the peak resident memory of both.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_WORDS = ["sky", "sea", "sun", "moon", "is", "not", "blue", "green", "red", "hot", "cold"]


def main(few: int, many: int) -> None:
    peaks = {count: int(_outside(count)) for count in (few, many)}
    for count, peak in peaks.items():
        print(f"{count} items: {peak / 1024:.1f} MiB")
    print(f"growth: {100 * (peaks[many] / peaks[few] - 1):+.2f} %")


def _outside(count: int) -> str:
    """The peak of a new process that evaluates so many items, in KiB."""
    command = [sys.executable, __file__, "--count", str(count)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def measure(count: int) -> None:
    """Evaluate so many items in this process, and print its peak in KiB."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from steer import Model, evaluate
    from steer.hooks import add, resid_post

    vocab = {word: n for n, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *_WORDS])}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    specials = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", **specials)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = Model(LlamaForCausalLM(config).eval(), tokenizer, name="tiny")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "questions.jsonl")
        data.write_text("".join(json.dumps(_row(n)) + "\n" for n in range(count)))
        plan = add(resid_post(0), torch.ones(16))
        result = evaluate(model, "truthfulqa", plan, data=data, out=Path(folder, "run"))
    if result.summary["items"] != count:
        raise SystemExit(f"expected {count} items, got {result.summary['items']}")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _row(number: int) -> dict[str, object]:
    """A question that no other number has."""
    digits = [number // len(_WORDS) ** place % len(_WORDS) for place in range(4)]
    text = " ".join(_WORDS[digit] for digit in digits)
    return {
        "question": f"{text} ?",
        "best_answer": "blue",
        "correct_answers": ["blue"],
        "incorrect_answers": ["red"],
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]:
        measure(int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:] or ["1000", "10000"]))
