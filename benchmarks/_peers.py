"""The same edit, h + v on every token after a layer, in steer, in other libraries and by hand.

Each entry of `LIBRARIES` prepares a model once, as the library's own README does, and returns what
a user runs for each batch. Libraries are imported when they are first prepared, so the script also
runs where only some of them are installed.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Inputs = dict[str, Tensor]
"""`input_ids` and `attention_mask`, each `Int[Tensor, "batch seq"]`, and options of `generate`."""

Vectors = dict[int, Tensor]
"""What is added after each layer: `Float[Tensor, "d"]`, or "batch 1 d" for one edit a row."""

Run = Callable[..., Tensor]
"""`run(inputs, **options)` makes the token ids, prompt included."""

Prepare = Callable[[PreTrainedModel, PreTrainedTokenizerBase, Vectors], Run]
"""Makes a model ready; it may change the model for good."""


def plain(hf: PreTrainedModel, _: PreTrainedTokenizerBase, __: Vectors) -> Run:
    return lambda inputs, **options: hf.generate(**inputs, **options)


def by_hand(hf: PreTrainedModel, _: PreTrainedTokenizerBase, vectors: Vectors) -> Run:
    """One forward hook a layer; what the tokens of all others are compared with."""

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        handles = [
            hf.model.layers[layer].register_forward_hook(
                # Layers of older transformers return a tuple.
                lambda _, __, out, v=v: (out[0] + v, *out[1:]) if type(out) is tuple else out + v
            )
            for layer, v in vectors.items()
        ]
        try:
            return hf.generate(**inputs, **options)
        finally:
            for handle in handles:
                handle.remove()

    return run


def with_steer(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vectors: Vectors) -> Run:
    import steer

    model = steer.Model(hf, tokenizer=tokenizer)
    plan = _sum_of_plans(vectors)

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        with steer.attach(model, plan):
            return hf.generate(**inputs, **options)

    return run


def with_steer_rows(
    hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vectors: Vectors
) -> Run:
    """A plan of its own for each row of the batch."""
    import steer

    model = steer.Model(hf, tokenizer=tokenizer)
    rows = len(next(iter(vectors.values())))
    plans = [_sum_of_plans({at: v[row, 0] for at, v in vectors.items()}) for row in range(rows)]

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        with steer.attach(model, plans):
            return hf.generate(**inputs, **options)

    return run


def _sum_of_plans(vectors: Vectors) -> Any:
    import steer

    return reduce(add, [steer.add(steer.resid_post(layer), v) for layer, v in vectors.items()])


def with_repeng(hf: PreTrainedModel, _: PreTrainedTokenizerBase, vectors: Vectors) -> Run:
    from repeng import ControlModel, ControlVector

    model = ControlModel(hf, list(vectors))  # replaces these layers by wrappers
    directions = {layer: v.numpy() for layer, v in vectors.items()}
    control = ControlVector(model_type=hf.config.model_type, directions=directions)

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        model.set_control(control, 1.0)
        try:
            return model.generate(**inputs, **options)
        finally:
            model.reset()

    return run


def with_steering_vectors(hf: PreTrainedModel, _: PreTrainedTokenizerBase, vectors: Vectors) -> Run:
    from steering_vectors import SteeringVector

    vector = SteeringVector(vectors, "decoder_block")

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        with vector.apply(hf):
            return hf.generate(**inputs, **options)

    return run


def with_pyvene(hf: PreTrainedModel, _: PreTrainedTokenizerBase, vectors: Vectors) -> Run:
    import pyvene  # imports nnsight as well, where that is installed

    model = pyvene.IntervenableModel(
        [
            {
                "layer": layer,
                "component": "block_output",
                "source_representation": v,
                "intervention_type": pyvene.AdditionIntervention,
            }
            for layer, v in vectors.items()
        ],
        model=hf,
    )

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        # On the prompt and with no locations is on all tokens; the default is on the first new one.
        return model.generate(inputs, intervene_on_prompt=True, **options)[1]

    return run


def with_nnsight(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vectors: Vectors) -> Run:
    # Importing nnsight replaces torch.Tensor.backward in the whole process, so it comes last here;
    # generation takes no gradients.
    import nnsight

    model = nnsight.TransformersModel(hf, tokenizer=tokenizer, task="text-generation")

    def run(inputs: Inputs, **options: int | bool) -> Tensor:
        with model.generate(inputs, **options) as tracer:
            # Its README bounds the loop, so that what follows the loop is still run.
            for _ in tracer.iter[: options["max_new_tokens"]]:
                for layer, v in vectors.items():
                    model.model.layers[layer].output[:] += v
            ids = tracer.result.save()
        return ids

    return run


LIBRARIES: dict[str, Prepare] = {
    "plain": plain,
    "by hand": by_hand,
    "steer": with_steer,
    "steer rows": with_steer_rows,
    "repeng": with_repeng,
    "steering-vectors": with_steering_vectors,
    "pyvene": with_pyvene,
    "nnsight": with_nnsight,
}
"""In the order of the table."""
