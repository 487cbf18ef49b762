"""A steered model for lm-evaluation-harness, whose own `HFLM` does not say where contexts end.

Imports no lm-eval until the class is asked for.
"""

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steer.hooks import Model, ModelError, Plan, PlanError, RunError, attach, prompts

from ._load import load

_LOADING = ("device_map", "revision", "subfolder", "trust_remote_code")


class _Row(NamedTuple):
    """What the model is given of a request, and how many of these tokens are context."""

    ids: list[int]
    context: int


class Steering:
    """`HFLM` of lm-evaluation-harness under a plan, right on every span.

    Contexts are prompt and continuations are generated, as in `steer eval`; in rolling
    log-likelihoods the start token is the prompt. Between requests the model is unsteered.

    Args:
        pretrained: a `Model`, a transformers model, or a name as in `steer.load`.
        plan: what to steer with, or its file; None is the unsteered model.
        tokenizer: of a transformers model.
        batch_size: rows in a batch, or `auto`.
        device: where to load a named model; None takes a GPU if there is one, and so does `cuda:0`,
            which lm-eval's command line says by itself.
        dtype: of a named model.
        options: of `HFLM`, such as `max_length`, `add_bos_token` or `softmax_dtype`; for a named
            model also `revision`, `subfolder`, `device_map` and `trust_remote_code`.

    Raises:
        ModelError: no such model, one with an encoder, or `logits_cache=True`.
        PlanError: a plan that does not fit, or has a strength for each row.
    """

    def __init__(
        self,
        pretrained: Any,
        plan: Plan | str | Path | None = None,
        *,
        tokenizer: Any = None,
        batch_size: int | str = 1,
        device: str | None = None,
        dtype: str | torch.dtype = "auto",
        **options: Any,
    ) -> None:
        if options.pop("logits_cache", False):
            # It takes equal rows for equal requests, wherever their contexts end.
            raise ModelError("SteeredLM: logits_cache=True is wrong under a plan; leave it out")
        if isinstance(pretrained, str | Path):
            loading = {name: options.pop(name) for name in _LOADING if name in options}
            pretrained = load(pretrained, _where(device), dtype, **loading)
        model = pretrained if isinstance(pretrained, Model) else Model(pretrained, tokenizer)
        if model.hf.config.is_encoder_decoder:
            raise ModelError(f"SteeredLM: {model.name} has an encoder; expected a decoder alone")
        self.steered = model
        self.plan = Plan.load(plan) if isinstance(plan, str | Path) else plan
        self._waiting: Iterator[_Row] | None = None
        _check(model, self.plan)
        hflm: Any = super()
        hflm.__init__(
            pretrained=model.hf,
            tokenizer=copy.deepcopy(model.tokenizer),  # HFLM gives it a padding token
            batch_size=batch_size,
            logits_cache=False,
            **options,
        )

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes into its results, with the plan's hash."""
        hflm: Any = super()
        about: dict[str, Any] = hflm.get_model_info()
        about |= {"model_name": self.steered.name, "model_revision": self.steered.revision}
        return about | {"plan": None if self.plan is None else self.plan.hash}

    def _loglikelihood_tokens(self, requests: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        hflm: Any = super()
        self._waiting = iter(_in_order(requests, hflm.max_length))
        try:
            return hflm._loglikelihood_tokens(requests, *args, **kwargs)
        finally:
            self._waiting = None

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> Any:
        hflm: Any = super()
        held, self._waiting = self._waiting, None  # its rows are no requests
        try:
            return hflm._detect_batch_size(*args, **kwargs)
        finally:
            self._waiting = held

    def _model_call(self, inps: Tensor, *args: Any, **kwargs: Any) -> Any:
        hflm: Any = super()
        with attach(self.steered, self.plan), prompts(self._contexts(inps)):
            return hflm._model_call(inps, *args, **kwargs)

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        hflm: Any = super()
        with attach(self.steered, self.plan):
            return hflm._model_generate(*args, **kwargs)

    def _contexts(self, inps: Tensor) -> list[int]:
        """Tokens of each row's context.

        Raises:
            RunError: if lm-eval runs other rows than were expected.
        """
        if self._waiting is None:
            return [inps.shape[1]] * len(inps)
        rows = list(islice(self._waiting, len(inps)))
        given = [ids[: len(row.ids)] for ids, row in zip(inps.tolist(), rows, strict=False)]
        if given != [row.ids for row in rows] or len(rows) < len(inps):
            raise RunError(
                f"SteeredLM: lm-eval {version('lm_eval')} runs requests in an unknown order, so "
                'that spans would be wrong; pip install "lm-eval==0.4.13"'
            )
        return [row.context for row in rows]


def _in_order(requests: Sequence[Any], max_length: int) -> list[_Row]:
    """The rows of requests `(texts, context, continuation)` in the order in which HFLM runs them.

    Longest first, then by tokens (`_collate` in lm_eval/models/huggingface.py, version 0.4.13);
    where all tokens are equal and only the context ends elsewhere, in the order of the requests.
    """
    pairs = [(context + answer, len(answer)) for _, context, answer in requests]
    rows = []
    for ids, count in sorted(pairs, key=lambda pair: (-len(pair[0]), pair[0])):
        kept = ids[-(max_length + 1) :][:-1]
        rows.append(_Row(kept, len(kept) + 1 - count))
    return rows


def _where(device: str | None) -> str:
    # lm-eval's command line asks for cuda:0 where nothing is said, as HFLM does not mind.
    missing = (device or "").startswith("cuda") and not torch.cuda.is_available()
    return "auto" if device is None or missing else device


def _check(model: Model, plan: Plan | None) -> None:
    if plan is not None and any(item.rows is not None for item in plan):
        raise PlanError(
            "SteeredLM: the plan has a strength for each row, but lm-eval sorts its requests; "
            "give one strength for all"
        )
    with attach(model, plan):
        pass


@cache
def steered_lm() -> Any:
    """The class, also registered with lm-eval as the model `steer`.

    Raises:
        ModelError: lm-eval is not installed.
    """
    try:
        hflm = import_module("lm_eval.models.huggingface").HFLM
        register = import_module("lm_eval.api.registry").register_model
    except ImportError as error:
        raise ModelError(
            f"SteeredLM: lm-evaluation-harness cannot be imported ({error}); "
            'run `pip install "steer[lm-eval]"`'
        ) from error
    about = {"__doc__": Steering.__doc__, "__module__": "steer.interop"}
    return register("steer")(type("SteeredLM", (Steering, hflm), about))
