"""From one direction a layer to a plan whose strength has the same meaning at every layer."""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from steer.hooks import Add, DataError, Intervention, Model, Plan, SiteError, Span, resid_post


def layers_of(model: Model, layers: int | Iterable[int] | None) -> list[int]:
    """The layers asked for; by default the one at 60 % of the depth.

    Raises:
        SiteError: a layer that the model does not have, or none at all.
    """
    if layers is None:
        return [int(0.6 * model.n_layers)]
    chosen = [layers] if isinstance(layers, int) else list(dict.fromkeys(layers))
    if not chosen:
        raise SiteError("layers: none given; name at least one, such as layers=[14]")
    for layer in chosen:
        model.anatomy.check(resid_post(layer))
    return chosen


def plan_of(
    model: Model,
    directions: Mapping[int, Float[Tensor, " d_model"]],
    norms: Mapping[int, float],
    *,
    strength: float,
    span: Span | str,
    keep_norm: bool,
    meta: Mapping[str, Any],
) -> Plan:
    """Add each direction, scaled to the layer's own residual norm, after its layer.

    With strength 0.1 the added vector is a tenth as long as the residual stream there, whichever
    the layer (raw norms differ by a factor of a hundred between layers).

    Raises:
        DataError: if a direction is zero.
    """
    span = span if isinstance(span, Span) else Span(span)
    items = []
    for layer, direction in directions.items():
        length = direction.norm()
        if not length > 0:
            raise DataError(
                f"layer {layer}: the direction is zero; check that chosen and rejected differ"
            )
        vector = direction / length * norms[layer]
        items.append(Intervention(resid_post(layer), Add(vector, keep_norm), span, strength))
    about = {
        "model": model.name,
        "revision": model.revision,
        "hidden_size": model.d_model,
        "norms": {str(layer): round(norms[layer], 4) for layer in directions},
    }
    return Plan(tuple(items), about | dict(meta))
