from statistics import median_low

import numpy as np
import pytest
import torch

import byhand
from steer.attribution import repe
from steer.hooks import Model, PlanError

PAIRS = [
    ("Q: What is the sky ?", "blue", "the sky is green ."),
    ("Where is Paris ?", "in the river of London", "Rome ?"),
    ("A: fire is", "hot . it is not cold", "cold and old"),
    ("Who is a bird ?", "one", "two"),
    ("the moon is", "white", "black"),
]


def last_states(model: Model, layer: int, side: int) -> np.ndarray:
    rows = []
    for prompt, *answers in PAIRS:
        ids = model.tokenizer(f"{prompt} {answers[side]}")["input_ids"]
        rows.append(byhand.states(model.hf, byhand.embeddings(model.hf, ids), layer)[-1])
    return torch.stack(rows).double().numpy()


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_vector_is_the_principal_axis_on_the_side_of_the_mean(
    any_model: Model, layer: int, swapped: bool
) -> None:
    chosen, rejected = last_states(any_model, layer, 0), last_states(any_model, layer, 1)
    pairs = PAIRS
    if swapped:
        chosen, rejected = rejected, chosen
        pairs = [(prompt, bad, good) for prompt, good, bad in PAIRS]
    values, vectors = np.linalg.eigh(np.cov(chosen - rejected, rowvar=False))
    axis = vectors[:, values.argmax()]
    axis = axis * np.sign(axis @ (chosen - rejected).mean(0))
    unit = median_low(np.linalg.norm(np.concatenate([chosen, rejected]), axis=1).tolist())
    (item,) = repe(any_model, pairs, layer, strength=0.5)
    np.testing.assert_allclose(item.edit.vector.numpy(), axis * unit, rtol=1e-3, atol=1e-3 * unit)


def test_options_and_meta(model: Model) -> None:
    plan = repe(model, PAIRS, 1, strength=0.5, span="last", keep_norm=False, read="mean")
    (item,) = plan
    assert (item.strength, str(item.span), item.edit.keep_norm) == (0.5, "last", False)
    assert (plan.meta["method"], plan.meta["read"], plan.meta["pairs"]) == ("repe", "mean", 5)


def test_another_aggregate_is_refused(model: Model) -> None:
    with pytest.raises(PlanError, match=r"^repe: the aggregate is the principal axis; use caa"):
        repe(model, PAIRS, 1, aggregate=lambda differences: differences[0])
