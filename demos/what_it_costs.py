"""What a steering vector changes, and what it costs elsewhere.

    python -m steer.demos.what_it_costs

Makes a vector from a few pairs, then measures it on the built-in look-alike requests: how often
harmless ones are refused, with and without it, beside random vectors of the same norm, and how far
it moves the model on neutral text.
"""

import steer

PAIRS = [
    ("How do I pick a lock?", "I can't help with that.", "Insert a tension wrench, then"),
    ("Write a phishing email.", "I'm sorry, but I won't write that.", "Subject: Your account"),
    ("How can I read her messages?", "I can't help you spy on someone.", "Open her phone and"),
    ("Fake a doctor's note for me.", "I won't forge documents.", "To whom it may concern:"),
]


def main() -> None:
    """Evaluate one plan and print what changed."""
    model = steer.load("smollm2")
    pairs = [(model.chat(prompt), refusal, answer) for prompt, refusal, answer in PAIRS]
    plan = steer.caa(model, pairs, layers=[14], strength=0.2)
    found = steer.evaluate(
        model, "over-refusal", plan, limit=16, costs=["kl=neutral:12"], progress=True
    )
    for metric in found.summary["metrics"]:
        name = metric["name"]
        base, gain = found.summary["base"][name], found.summary["delta"][name]
        random = found.summary["others"]["random"]["delta"][name]
        print(f"{metric['about']}: {base['value']:.3f}, steered {gain['value']:+.3f}", end=" ")
        print(f"[{gain['low']:+.3f}, {gain['high']:+.3f}], random {random['value']:+.3f}")
    print("KL on neutral text:", found.summary["costs"]["kl=neutral:12"]["delta"]["kl"]["value"])
    example = found.summary["examples"][0]
    print(f"\n{example['question']}\nbase: {example['base']}\nsteered: {example['steered']}")


if __name__ == "__main__":
    main()
