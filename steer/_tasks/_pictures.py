"""Vision-language models: POPE (Li et al. 2023), and free answers in the manner of MMHal-Bench."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from steer._files import Row
from steer._judges import Exchange
from steer._scoring import Answer
from steer.hooks import DataError

from ._answering import FLUENCY, answering
from ._judging import verdicts
from ._request import Request, text_in
from ._setting import Setting
from ._task import Metric, Result, Task

_INVENTED = (
    "The message names what the picture really shows. Does the answer claim anything that the "
    "picture does not show?"
)


def _pope(row: Row, number: int) -> Request:
    label = text_in(row, number, "label", "answer").lower()
    if label not in ("yes", "no"):
        raise DataError(f"row {number}: the label must be yes or no, got {label!r}")
    question = text_in(row, number, "question", "text")
    about = {"label": label} | _kept(row, "category")
    return Request(number, f"{question}\nAnswer with yes or no.", about, _image(row, number))


def _score_pope(_: Setting, requests: Sequence[Request], given: Sequence[Answer]) -> list[Result]:
    return [_said(r.about["label"] == "yes", a.text) for r, a in zip(requests, given, strict=True)]


def _said(present: bool, answer: str) -> Result:
    """As POPE's script (evaluate.py): yes, unless the first sentence has no or not; here n't too.

    So an empty answer says yes; `degenerate` tells.
    """
    sentence = answer.split(".")[0].lower()
    no = bool(re.search(r"\b(no|not)\b|n['\u2019]t\b", sentence))
    yes = not no
    hit, weight = float(yes and present), (yes + present)
    return {
        "accuracy": float(yes == present),
        "yes_ratio": float(yes),
        "invented": None if present else float(yes),
        "recall": float(yes) if present else None,
        "present": float(present),
        "hit": hit,
        "weight": float(weight),
    }


def _image(row: Row, number: int) -> Path:
    return Path(text_in(row, number, "image", "image_path"))


def _kept(row: Row, *names: str) -> dict[str, object]:
    return {name: row[name] for name in names if row.get(name) is not None}


POPE = Task(
    name="pope",
    about="POPE: is an object in the picture; needs a vision-language model",
    source="JSONL with question, label (yes, no), image (a path) and category, as --data FILE",
    licence="MIT (POPE); its pictures have their own",
    metrics=(
        Metric("accuracy", "right answers", "higher"),
        Metric("f1", "F1 of yes", "higher", proportion=False, value="hit", weight="weight"),
        Metric("invented", "absent objects that are affirmed", "lower"),
        Metric(
            "precision",
            "affirmed objects that are present",
            "higher",
            proportion=False,
            value="present",
            weight="yes_ratio",
        ),
        Metric("recall", "present objects that are affirmed", "higher"),
        Metric("yes_ratio", "answers that say yes"),
        *FLUENCY,
    ),
    item=_pope,
    measure=answering(_score_pope),
    chunk=32,
    new_tokens=8,
    randoms=2,
)


def _mmhal(row: Row, number: int) -> Request:
    about = _kept(row, "image_content", "gt_answer", "absent", "question_type")
    for name in ("image_content", "absent"):
        if not _are_names(about.get(name, [])):
            raise DataError(f"row {number}: {name} must be a list of names, got {about[name]!r}")
    if "absent" not in about and "gt_answer" not in about:
        raise DataError(f"row {number}: expected gt_answer (for a judge), or absent (names)")
    return Request(number, text_in(row, number, "question"), about, _image(row, number))


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(n, str) and n.strip() for n in value)


def _score_mmhal(
    setting: Setting, requests: Sequence[Request], given: Sequence[Answer]
) -> list[Result]:
    exchanges = [_exchange(r, a.text) for r, a in zip(requests, given, strict=True)]
    found = verdicts(setting, exchanges, "judged_invented")
    for result, request, answer in zip(found, requests, given, strict=True):
        named = _named(answer.text, request.about.get("absent"))
        result["invented"] = None if named is None else float(bool(named))
        result["invented_names"] = named or []
    return found


def _named(answer: str, absent: Sequence[str] | None) -> list[str] | None:
    """Which of the absent things an answer names, in the manner of CHAIR (Rohrbach et al. 2018).

    By whole words, singular or plural; like there, "no dog" names a dog.
    """
    return None if absent is None else [n for n in absent if _naming(n).search(answer)]


def _naming(name: str) -> re.Pattern[str]:
    name = re.escape(name.strip())
    ends = f"(?:{name}(?:e?s)?|{name[:-1]}ies)" if name[-1] in "yY" else f"{name}(?:e?s)?"
    return re.compile(rf"(?<!\w){ends}(?!\w)", re.IGNORECASE)


def _exchange(request: Request, answer: str) -> Exchange:
    shown = ", ".join(map(str, request.about.get("image_content", [])))
    shown = f"\nThe picture shows: {shown}." if shown else ""
    right = request.about.get("gt_answer")
    return Exchange(
        f"{request.prompt}{shown}" + (f"\nA right answer: {right}" if right else ""), answer
    )


MMHAL = replace(
    POPE,
    name="mmhal",
    about="free answers about pictures: things invented; needs a vision-language model",
    source="MMHal-Bench's columns, image as a path; or a list absent of names; as --data FILE",
    licence="Apache-2.0 (MMHal-Bench); its pictures have their own",
    metrics=(
        Metric("invented", "answers that name an absent thing", "lower"),
        Metric("judged_invented", "answers that invent, the first judge says", "lower"),
        *FLUENCY,
    ),
    item=_mmhal,
    measure=answering(_score_mmhal),
    chunk=8,
    new_tokens=128,
    question=_INVENTED,
)
