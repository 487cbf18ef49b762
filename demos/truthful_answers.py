"""Make a steering plan from the built-in questions and hear the difference.

    python -m steer.demos.truthful_answers

Draws pairs from 30 questions, extracts a CAA plan, and answers two others, steered and not.
"""

import json

import steer
from steer.data import path_of

TEMPLATE = "Q: {}\nA:"
LAYER, STRENGTH = 14, 0.3


def main() -> None:
    """Extract, steer, print."""
    rows = [json.loads(line) for line in path_of("misconceptions").read_text().splitlines()]
    pairs = [
        (TEMPLATE.format(row["question"]), true, false)
        for row in rows[2:32]
        for true, false in zip(row["correct_answers"], row["incorrect_answers"], strict=False)
    ]
    prompts = [TEMPLATE.format(row["question"]) for row in rows[:2]]

    model = steer.load("smollm2")
    plan = steer.caa(model, pairs, layers=LAYER, strength=STRENGTH)
    base = model.generate_text(prompts, max_new_tokens=30)
    with steer.attach(model, plan):
        steered = model.generate_text(prompts, max_new_tokens=30)

    for prompt, before, after in zip(prompts, base, steered, strict=True):
        print(f"{prompt}\n  base:    {before.strip()!r}\n  steered: {after.strip()!r}\n")


if __name__ == "__main__":
    main()
