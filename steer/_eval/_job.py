"""One evaluation, checked before anything is run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from steer._judges import Judge, judge_of
from steer._methods import method_of
from steer._scoring import ready
from steer._tasks import Setting, Task, task_of
from steer._versions import versions
from steer.attribution import Pair, PairLike, as_pairs
from steer.hooks import DataError, Model, Plan, PlanError, TaskError, attach

from ._arms import with_controls
from ._items import Data, Items, data_of
from ._run import Part
from ._share import Share, share_of
from ._splits import splits
from ._tune import Tuner
from ._tuning import Tuning
from ._weights import weights_of


@dataclass(frozen=True)
class Job:
    """What is measured, on what, and with which plans.

    Attributes:
        task: the task.
        setting: the model and how it is run.
        data: the task's items.
        plan: what to steer with; None if methods make the plans.
        methods: what makes plans, the one to report first.
        pairs: what methods learn from; None takes items.
        tuning: what they try.
        folds: parts for cross-validation; 1 reports one half.
        randoms: how many random vectors stand beside the plan; None leaves out all controls.
        folder: where results go.
        share: the share of this process.

    Raises:
        DataError, PlanError, SiteError, TaskError: whatever of it does not fit.
    """

    task: Task
    setting: Setting
    data: Data
    plan: Any = None  # a Plan, or what is refused
    methods: Sequence[str] = ()
    pairs: list[Pair] | None = None
    tuning: Tuning = field(default_factory=Tuning)
    folds: int = 1
    randoms: int | None = None
    folder: Path | None = None
    share: Share = field(default_factory=Share)

    def __post_init__(self) -> None:
        if self.plan is not None and not isinstance(self.plan, Plan):
            kind = type(self.plan).__name__
            raise PlanError(f"evaluate: expected a Plan, got {kind}; see Plan.load")
        if self.plan is not None and self.methods:
            raise DataError("evaluate: give a plan or a method, not both")
        if self.randoms is not None and self.randoms < 0:
            raise DataError(f"evaluate: randoms must be at least 0, got {self.randoms}")
        if not self.methods and (self.pairs is not None or self.folds != 1):
            what = "pairs" if self.pairs is not None else "folds"
            raise DataError(f"evaluate: {what} are for a method; give one too, or leave them out")
        for name in self.methods:
            method_of(name)
        if self.methods:
            self.splits()
            self.tuning.layers_in(self.setting.model)
            self.tuning.metric_of(self.task)
            if self.pairs is None and self.task.pairs is None:
                raise DataError(
                    f"{self.task.name} has no pairs to learn from; give --pairs FILE with prompt, "
                    "chosen and rejected"
                )
        if self.task.new_tokens is None:
            ready(self.setting.model)
        with attach(self.setting.model, self.plan):
            pass
        self.arms(self.plan)
        self._check_plan()
        self._check_prompt()

    def _check_plan(self) -> None:
        for item in self.plan or ():
            if item.rows is not None or item.span.masks:
                raise PlanError(
                    f"evaluate: the plan at {item.site} has a strength or mask for each row of a "
                    "batch, but items are sorted into batches; give one for all"
                )

    def _check_prompt(self) -> None:
        """A model without a chat template is refused before anything is run."""
        if self.task.new_tokens is not None and self.setting.prompt == "chat":
            self.setting.model.chat("")

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the rows."""
        setting = self.setting
        return {
            "task": self.task.name,
            "model": setting.model.name,
            "revision": setting.model.revision,
            "weights": weights_of(setting.model.hf),
            "dtype": str(setting.model.dtype).removeprefix("torch."),
            "data": self.data.sha256,
            "origin": self.data.origin,
            "numbers": _counted(self.data.items.numbers),
            "prompt": setting.prompt,
            "system": setting.system,
            "max_new_tokens": setting.max_new_tokens if self.task.new_tokens else None,
            "tokenizer": _tokenizer(setting.model),
            "judges": dict(setting.judged_by),
            "batch_tokens": setting.batch_tokens,
            "plan": None if self.plan is None else self.plan.hash,
            "methods": list(self.methods),
            "pairs": None if self.pairs is None else _digest([asdict(p) for p in self.pairs]),
            "tried": asdict(self.tuning) if self.methods else None,
            "folds": self.folds if self.methods else None,
            "controls": self.randoms,
            "seed": setting.seed,
            "versions": versions(),
        }

    def splits(self) -> list[tuple[Items, Items]]:
        """The tuning and reporting parts of each fold."""
        return splits(self.data.items, self.folds, self.setting.seed)

    def parts(self) -> list[Part]:
        """What is measured; with methods, after tuning them."""
        if not self.methods:
            return [Part(self.data.items, self.arms(self.plan), {})]
        tuner = Tuner(self.task, self.setting, self.tuning, self.pairs, self.folder, self.share)
        found = []
        for n, (mine, theirs) in enumerate(self.splits()):
            fold = n if self.folds > 1 else None
            tuned = {name: tuner.tuned(name, mine, fold) for name in self.methods}
            first, *others = tuned.values()
            beside = dict(zip(self.methods[1:], (t.plan for t in others), strict=True))
            arms = self.arms(first.plan, beside, first.shuffled)
            found.append(Part(theirs, arms, {name: t.how for name, t in tuned.items()}))
        return found

    def arms(
        self,
        plan: Plan | None,
        beside: Mapping[str, Plan] | None = None,
        shuffled: Plan | None = None,
    ) -> dict[str, Plan | None]:
        """The plan as `steered` among what it is held against."""
        arms: dict[str, Plan | None] = {"base": None}
        if plan is None:
            return arms
        arms |= {"steered": plan, **(beside or {})}
        if self.randoms is None:
            return arms
        return arms | with_controls(plan, self.setting.seed, self.randoms, shuffled)


def job_of(
    model: Model,
    task: str,
    plan: Plan | None,
    *,
    methods: Sequence[str],
    pairs: Sequence[PairLike] | None,
    tuning: Tuning | None,
    folds: int,
    data: str | Path | None,
    limit: int | None,
    sample: int | None,
    controls: bool,
    randoms: int | None,
    out: str | Path | None,
    seed: int,
    **how: Any,
) -> Job:
    """The job that `evaluate` and `sweep` are asked for; the arguments are those of `evaluate`."""
    about = task_of(task)
    return Job(
        about,
        setting_of(about, model, seed=seed, **how),
        data_of(about, data, limit, sample, seed),
        plan,
        methods,
        None if pairs is None else as_pairs(pairs),
        tuning or Tuning(),
        folds,
        (about.randoms if randoms is None else randoms) if controls else None,
        None if out is None else Path(out),
        share_of(),
    )


def setting_of(
    task: Task,
    model: Model,
    *,
    prompt: str | None,
    system: str | None,
    max_new_tokens: int | None,
    judges: Sequence[str] | Mapping[str, Judge] | None,
    seed: int,
    batch_tokens: int,
    progress: bool,
) -> Setting:
    """How the task is run.

    Raises:
        TaskError: a prompt format or judge that the task does not know.
        DataError: a seed or number out of range.
    """
    prompt = task.prompts[0] if prompt is None else prompt
    if prompt not in task.prompts:
        raise TaskError(
            f"eval: {task.name} has no prompt {prompt!r}; expected one of {', '.join(task.prompts)}"
        )
    if system is not None and prompt != "chat":
        raise TaskError(f"eval: a system message needs the prompt chat, {task.name} has {prompt}")
    if not 0 <= seed < 2**32:
        raise DataError(f"evaluate: expected a seed from 0 to 2**32 - 1, got {seed}")
    if max_new_tokens is not None and (max_new_tokens < 1 or task.new_tokens is None):
        raise DataError(
            f"evaluate: got max_new_tokens={max_new_tokens}; it must be at least 1, and "
            f"{task.name} {'generates nothing' if task.new_tokens is None else 'generates answers'}"
        )
    if batch_tokens < 1:
        raise DataError(f"evaluate: batch_tokens must be at least 1, got {batch_tokens}")
    made, judged_by = _judges_of(task, judges, model.device)
    return Setting(
        model,
        prompt,
        system,
        seed,
        batch_tokens,
        max_new_tokens or task.new_tokens or 0,
        made,
        judged_by,
        progress,
    )


def _judges_of(
    task: Task, judges: Sequence[str] | Mapping[str, Judge] | None, device: torch.device
) -> tuple[Mapping[str, Judge], Mapping[str, str | None]]:
    """The judges by name, and what tells each from another of the same name."""
    names = task.judges if judges is None else tuple(judges)
    if task.question is None and names:
        raise TaskError(f"eval: {task.name} needs no judge, got {', '.join(names)}")
    if isinstance(judges, Mapping):
        return judges, {name: getattr(j, "__qualname__", None) for name, j in judges.items()}
    if task.question is None:
        return {}, {}
    from steer._load import load

    made: dict[str, Judge] = {}
    judged_by: dict[str, str | None] = {}
    for name in names:
        judged_by[name] = None

        def loaded(place: str, name: str = name) -> Model:
            model = load(place, device=str(device))
            judged_by[name] = weights_of(model.hf)
            return model

        made[name] = judge_of(name, load=loaded, question=task.question)
    return made, judged_by


def _tokenizer(model: Model) -> str:
    """A digest of what makes tokens of a text, and prompts of a message."""
    tokenizer = model.tokenizer
    probe = tokenizer("The quick brown fox; 12345 \u00e9\u4e2d.")["input_ids"]
    return _digest([probe, len(tokenizer), str(tokenizer.chat_template)])[:12]


def _counted(numbers: Sequence[int]) -> str:
    """Which items take part, short enough for a message."""
    return f"{len(numbers)} items, {_digest(list(numbers))[:12]}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
