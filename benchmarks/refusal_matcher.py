"""Judges of refusals against human labels.

    python benchmarks/refusal_matcher.py
    python benchmarks/refusal_matcher.py --model smollm2 --rows 150
    python benchmarks/refusal_matcher.py --wheel pyrit-1.1.0-py3-none-any.whl
    python benchmarks/refusal_matcher.py --xstest xstest_v2_completions_gpt4.csv

The labels are those of PyRIT (Microsoft, MIT licence), in its wheel on PyPI, which is downloaded,
checked against a SHA-256 and read without being installed. XSTest's labelled completions
(https://github.com/paul-rottger/exaggerated-safety, CC-BY-4.0) are on no package index: fetch them
by hand. `phrases` was tuned on the set marked so; "unseen" answers do not stand in it.

PyRIT labels an answer to another question as a refusal as well. Its benign prompts come with
answers to them (0) and with answers swapped between them (1); the sets marked "unswapped" leave
these prompts out.
"""

import argparse
import csv
import hashlib
import io
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import steer
from steer._judges import Exchange, agreement, phrases, verdict

VERSION = "1.1.0"
SHA256 = "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a"
FOLDER = "pyrit/datasets/scorer_evals"
MAIN, EXTRA, MINI = (
    f"{FOLDER}/refusal_scorer/refusal.csv",
    f"{FOLDER}/refusal_scorer/refusal_extra.csv",
    f"{FOLDER}/sample/mini_refusal.csv",
)
XSTEST = {"1_full_compliance": False, "2_full_refusal": True}


class Labelled(NamedTuple):
    """An exchange and whether people called it a refusal."""

    exchange: Exchange
    refusal: bool


def fetch(folder: Path) -> Path:
    """PyRIT's wheel from PyPI."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*command, str(folder), f"pyrit=={VERSION}"], check=True)
    return next(folder.glob("*.whl"))


def labelled(wheel: Path, name: str) -> list[Labelled]:
    text = zipfile.ZipFile(wheel).read(name).decode("utf-8")
    lines = text.splitlines(keepends=True)
    while lines[0].startswith("#"):
        del lines[0]
    return [
        Labelled(Exchange(row["objective"], row["assistant_response"]), row["human_score"] == "1")
        for row in csv.DictReader(io.StringIO("".join(lines)))
    ]


def xstest(path: Path) -> list[Labelled]:
    """Full refusals and full compliance; partial refusals are left out."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Labelled(Exchange(row["prompt"], row["completion"]), XSTEST[row["final_label"]])
            for row in csv.DictReader(file)
            if row["final_label"] in XSTEST
        ]


def sets(wheel: Path) -> dict[str, list[Labelled]]:
    main, extra, mini = (labelled(wheel, name) for name in (MAIN, EXTRA, MINI))
    known = {_key(row.exchange.answer) for row in main}
    unseen = [row for row in extra if _key(row.exchange.answer) not in known]
    benign = {row.exchange.prompt for row in main + extra if not row.refusal}
    benign &= {row.exchange.prompt for row in main + extra if row.refusal}
    return {
        "refusal.csv (tuned on)": main,
        "refusal.csv (tuned on), unswapped": [r for r in main if r.exchange.prompt not in benign],
        "refusal_extra.csv": extra,
        "refusal_extra.csv, unseen answers": unseen,
        "refusal_extra.csv, unseen, unswapped": [
            r for r in unseen if r.exchange.prompt not in benign
        ],
        "mini_refusal.csv": mini,
    }


def _key(answer: str) -> str:
    return " ".join(answer.lower().split())


def figures(rows: Sequence[Labelled], said: Sequence[float | None]) -> str:
    pairs = [(row.refusal, p >= 0.5) for row, p in zip(rows, said, strict=True) if p is not None]
    hits = sum(y and p for y, p in pairs)
    found, real = sum(p for _, p in pairs), sum(y for y, _ in pairs)
    f1 = f"{2 * hits / (found + real):.2f}" if found + real else "-"
    return (
        f"n {len(pairs):4d}  refusals {real:4d}  precision {wilson(hits, found)}  "
        f"recall {wilson(hits, real)}  F1 {f1}"
    )


def wilson(hits: int, of: int) -> str:
    """A share with its Wilson 95 % interval."""
    if not of:
        return "- (0 of 0)"
    z, p = 1.959964, hits / of
    centre, spread = p + z * z / (2 * of), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    low, high = ((centre + sign * spread) / (1 + z * z / of) for sign in (-1, 1))
    return f"{p:.2f} [{low:.2f}, {high:.2f}] ({hits} of {of})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="also judge with this model, such as smollm2")
    parser.add_argument("--rows", type=int, default=150, help="at most so many for the model")
    parser.add_argument("--wheel", type=Path, help="PyRIT's wheel, if it is here already")
    parser.add_argument("--xstest", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = given.wheel or fetch(Path(folder))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(f"{wheel} is not PyRIT {VERSION} as it was measured")
        data = sets(wheel)
        mixed = labelled(wheel, MAIN) + labelled(wheel, EXTRA)
    data |= {path.name: xstest(path) for path in given.xstest}
    for name, rows in data.items():
        print(f"{name:38s} phrases  {figures(rows, phrases([r.exchange for r in rows]))}")
    if given.model:
        compare(given.model, random.Random(0).sample(mixed, min(given.rows, len(mixed))))


def compare(name: str, rows: Sequence[Labelled]) -> None:
    exchanges = [row.exchange for row in rows]
    judge = verdict(steer.load(name, device="cpu"))
    started = time.perf_counter()
    said = {"phrases": phrases(exchanges), name: judge(exchanges)}
    seconds = time.perf_counter() - started
    print(f"\n{len(rows)} random rows of refusal.csv and refusal_extra.csv, {seconds:.0f} s")
    for judged, values in said.items():
        print(f"{judged:12s} {figures(rows, values)}")
    given = [float(row.refusal) for row in rows]
    for pair, values in agreement({"people": given, **said}).items():
        shown = (f"{key} {'-' if v is None else f'{v:.2f}'}" for key, v in values.items())
        print(f"{pair:24s} {'  '.join(shown)}")
    known = [(p, row.refusal) for p, row in zip(said[name], rows, strict=True) if p is not None]
    print(f"{name}: area under the ROC curve {area(known):.2f}")


def area(pairs: Sequence[tuple[float, bool]]) -> float:
    """The chance that a refusal scores above an answer that is none; ties count half."""
    yes = [p for p, refusal in pairs if refusal]
    no = [p for p, refusal in pairs if not refusal]
    wins = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
    return wins / (len(yes) * len(no)) if yes and no else float("nan")


if __name__ == "__main__":
    main()
