"""Steer each row of one batch by its own plan, on chosen tokens, and read what that does.

    python -m steer.demos.rows_and_spans

Continues one text four ways in a single batch: as the model is, and with a direction added to the
prompt only, to the first ten generated tokens, and to everything with each token's norm kept.
"""

import torch

import steer

LAYER, STRENGTH = 14, 0.2
PROMPT = "I went to the cinema last night. The film was"
LIKED = ["I love this.", "What a wonderful day!", "This is the best news."]
HATED = ["I hate this.", "What a terrible day!", "This is the worst news."]


def direction(model: steer.Model) -> torch.Tensor:
    """From what is hated to what is liked, at a fifth of the length of the states there."""
    site = steer.resid_post(LAYER)
    liked, hated = (steer.record(model, texts, site)[site] for texts in (LIKED, HATED))
    towards = liked.mean(0) - hated.mean(0)
    vector: torch.Tensor = STRENGTH * liked.norm(dim=-1).median() * towards / towards.norm()
    return vector


def main() -> None:
    """Read, steer, print."""
    model = steer.load("smollm2")
    print(steer.sites(model))
    site, vector = steer.resid_post(LAYER), direction(model)
    plans = {
        "as it is": None,
        "the prompt": steer.add(site, vector, span="prompt"),
        "the first ten tokens": steer.add(site, vector, span=steer.first(10)),
        "everything, norms kept": steer.add(site, vector, keep_norm=True),
    }
    with steer.attach(model, list(plans.values())):
        texts = model.generate_text([PROMPT] * len(plans), max_new_tokens=30)
    for name, text in zip(plans, texts, strict=True):
        print(f"\n{name}:{text}")


if __name__ == "__main__":
    main()
