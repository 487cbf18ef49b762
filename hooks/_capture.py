"""Runs one batch only as far up the model as the highest site asked for, never the LM head."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ._errors import SiteError
from ._model import as_model
from ._sites import Site
from ._torch_hooks import register


class _Done(Exception):
    """Everything asked for has been read."""


def capture(
    model: Any, inputs: Mapping[str, Tensor], sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "batch seq d"]]:
    """Run one batch up to the last site needed and return the tensors there.

    Gradients flow if they are on; plans that are attached apply.

    Args:
        model: a `Model`, or what `attach` takes.
        inputs: keyword arguments of the model's forward, such as `input_ids` or `inputs_embeds`
            and `attention_mask`; of an encoder-decoder, `decoder_input_ids` too.
        sites: what to read.

    Raises:
        SiteError: if there are no sites, or the model has no such site.
    """
    if not sites:
        raise SiteError("capture: no sites given; name at least one, such as resid_post(14)")
    wrapped = as_model(model)
    read: dict[Site, Tensor] = {}
    wanted = set(sites)

    def keep(site: Site, hidden: Tensor) -> Tensor:
        # Falcon adds to what its MLP gave in place.
        read[site] = hidden.clone() if site.kind in ("attn_out", "mlp_out") else hidden
        if len(read) == len(wanted):
            raise _Done
        return hidden

    with ExitStack() as stack:
        for site in wanted:
            wrapped.check(site)
            for handle in register(wrapped, site, partial(keep, site), read=True):
                stack.callback(handle.remove)
        with suppress(_Done):
            wrapped.hf(**inputs, use_cache=False)
    names = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
    shape = next(inputs[name].shape[:2] for name in names if name in inputs)
    return {site: read[site].reshape(*shape, -1) for site in sites}
