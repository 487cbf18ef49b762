"""IFEval (Zhou et al. 2023, https://arxiv.org/abs/2311.07911): instructions that code can check."""

from collections.abc import Sequence

from steer._files import Row
from steer._ifeval import check
from steer._scoring import Answer
from steer.hooks import DataError

from ._answering import FLUENCY, answering
from ._request import Request, text_in
from ._setting import Setting
from ._task import Metric, Result, Task


def _item(row: Row, number: int) -> Request:
    prompt = text_in(row, number, "prompt")
    try:
        names, arguments = list(row["instruction_id_list"]), list(row["kwargs"])
        check(names, arguments, prompt, "")
    except (KeyError, TypeError, DataError) as error:
        raise DataError(f"row {number}: {error}") from error
    if not names:
        raise DataError(f"row {number}: instruction_id_list is empty; expected an instruction")
    return Request(number, prompt, {"instructions": names, "arguments": arguments})


def score_ifeval(_: Setting, requests: Sequence[Request], given: Sequence[Answer]) -> list[Result]:
    """Whether every instruction is followed, and how many of them, strictly and loosely."""
    return [_result(request, answer.text) for request, answer in zip(requests, given, strict=True)]


def _result(request: Request, answer: str) -> Result:
    names, arguments = request.about["instructions"], request.about["arguments"]
    strict = check(names, arguments, request.prompt, answer)
    loose = check(names, arguments, request.prompt, answer, loose=True)
    return {
        "strict_prompt": float(all(strict)),
        "loose_prompt": float(all(loose)),
        "strict_instruction": sum(strict) / len(strict),
        "loose_instruction": sum(loose) / len(loose),
        "instructions": len(strict),
        "followed": strict,
    }


def _share(name: str, about: str) -> Metric:
    return Metric(name, about, "higher", proportion=False, weight="instructions")


IFEVAL = Task(
    name="ifeval",
    about="IFEval: verifiable instructions, prompts and instructions, strict and loose",
    source="input_data.jsonl of google-research/instruction_following_eval, as --data FILE",
    licence="Apache-2.0",
    metrics=(
        Metric("strict_prompt", "prompts with all instructions followed", "higher"),
        Metric("loose_prompt", "the same, markup and first or last line aside", "higher"),
        _share("strict_instruction", "instructions followed"),
        _share("loose_instruction", "the same, markup and first or last line aside"),
        *FLUENCY,
    ),
    item=_item,
    measure=answering(score_ifeval),
    chunk=20,
    new_tokens=1280,
    needs=("langdetect",),
    randoms=2,
)
