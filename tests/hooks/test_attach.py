import torch

import tiny
from steer.hooks import Model, add, attach, resid_post


def test_the_added_vector_is_exact(any_model: Model) -> None:
    batch = any_model.batch([[5, 6, 7, 8], [9, 10]])
    v = tiny.vector()
    base = any_model.hf(**batch, output_hidden_states=True).hidden_states
    with attach(any_model, add(resid_post(1), v, strength=0.5)):
        steered = any_model.hf(**batch, output_hidden_states=True).hidden_states
    real = batch["attention_mask"].bool()
    assert torch.equal(steered[2][real], base[2][real] + 0.5 * v)
    assert torch.equal(steered[2][~real], base[2][~real])
    assert torch.equal(steered[1], base[1])
    assert not torch.equal(steered[3][real], base[3][real])
