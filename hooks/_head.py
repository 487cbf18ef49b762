"""What the LM head makes of states, with the scalings that some architectures put around it."""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ._anatomy import Anatomy
from ._device import input_device
from ._errors import ModelError
from ._probe import Findings
from ._prompts import prompts
from ._sites import final


class Head:
    """The LM head of a model.

    Args:
        name: what errors call the model.
        hf: the model.
        anatomy: where its last norm is.
        findings: what its states are multiplied with before the head reads them.
    """

    def __init__(
        self, name: str, hf: PreTrainedModel, anatomy: Anatomy, findings: Findings
    ) -> None:
        self.name = name
        self.hf = hf
        self.anatomy = anatomy
        self.before = findings.head_scale  # T5
        self._checked = False

    def __call__(self, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        """The logits, in float32.

        Raises:
            ModelError: if the model does something to its logits that is not known here.
        """
        if not self._checked:
            self._check()
        return self._logits(states)

    def _logits(self, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        config = self.hf.config.get_text_config(decoder=True)
        scaled = states if self.before == 1 else self.before * states
        out: Tensor = self.hf.get_output_embeddings()(scaled).float()
        if scale := getattr(config, "logit_scale", None):  # Cohere
            out = out * scale
        if scale := getattr(config, "logits_scaling", None):  # Granite
            out = out / scale
        if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
            out = torch.tanh(out / cap) * cap
        return out

    @torch.no_grad()
    def _check(self) -> None:
        """Compare with the model's own logits once: scores that are silently off are worse."""
        read: list[Tensor] = []
        ids = torch.arange(3, device=input_device(self.anatomy.embedding)).unsqueeze(0)
        given = {"input_ids": ids}
        if self.hf.config.is_encoder_decoder:
            given["decoder_input_ids"] = ids
        norm = self.anatomy.module(final)
        handle = norm.register_forward_hook(lambda _, __, states: read.append(states))
        try:
            with prompts([3]):  # whatever holds outside is about other rows
                own = self.hf(**given, use_cache=False).logits.float()
        finally:
            handle.remove()
        if not own.isfinite().all():
            return  # a plan is attached that makes the model overflow: nothing to compare
        found = self._logits(read[-1]).to(own.device)
        if not torch.allclose(found, own, rtol=0.02, atol=0.02 * float(own.abs().max())):
            raise ModelError(
                f"{self.name}: the logits of {type(self.hf).__name__} are not its LM head's output "
                "after the scalings that are known (logit_scale, logits_scaling, "
                "final_logit_softcapping); its answers cannot be scored"
            )
        self._checked = True
