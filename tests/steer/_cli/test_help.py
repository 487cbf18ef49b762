import re

import pytest
import typer

from cli import Run
from steer._cli._app import app

LOADING = ("quickstart", "extract", "eval", "sweep")
COMMANDS = (*LOADING, "report", "zoo list", "zoo pull")


def _names(group: typer.Typer, before: str = "") -> set[str]:
    names = {
        f"{before}{c.name or (c.callback and c.callback.__name__)}"
        for c in group.registered_commands
    }
    for sub in group.registered_groups:
        assert sub.typer_instance is not None
        names |= _names(sub.typer_instance, f"{before}{sub.name} ")
    return names


def _help(run: Run, command: str) -> str:
    outcome = run(*command.split(), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    return " ".join(outcome.out.split())


def test_these_are_all_commands() -> None:
    assert _names(app) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_an_example_with_options_that_exist(run: Run, command: str) -> None:
    text = _help(run, command)
    assert text.startswith(f"Usage: steer {command}")
    found = re.search(rf"Example: (steer {command}.*?) (?:Arguments|Options):", text)
    assert found is not None
    options = text.split(" Options: ")[1]
    for option in re.findall(r"--[a-z-]+", found[1]):
        assert re.search(rf"{option}\b", options)


@pytest.mark.parametrize("command", LOADING)
@pytest.mark.parametrize("option", ["--model", "--seed", "--device", "--dtype", "--quiet"])
def test_what_every_command_that_loads_a_model_takes(run: Run, command: str, option: str) -> None:
    assert re.search(rf" {option} ", _help(run, command))


def test_the_front_page_names_the_commands(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    for name in (*LOADING, "report", "zoo", "--debug"):
        assert re.search(rf"^  {name} ", outcome.out, re.MULTILINE)


@pytest.mark.parametrize("words", [(), ("zoo",)])
def test_without_a_command_the_help_is_shown(run: Run, words: tuple[str, ...]) -> None:
    outcome = run(*words)
    assert outcome.code == 2
    shown = outcome.out + outcome.err
    assert shown.startswith("Usage: steer")
    assert "Commands:" in shown


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        ("bogus", "'bogus'"),
        ("zoo bogus", "'bogus'"),
        ("--bogus", "--bogus"),
        ("extract caa --out p --pairs p --bogus", "--bogus"),
        ("extract", "'method'"),
        ("extract caa --out p", "'--pairs'"),
        ("extract caa --pairs p", "'--out'"),
        ("extract caa --out p --pairs p --layers 1,x", "expected layers as 10,14, got '1,x'"),
        ("extract caa --out p --pairs p --layers ,", "expected layers as 10,14, got ','"),
        ("extract caa --out p --pairs p --strength x", "'--strength'"),
        ("eval", "'task'"),
        ("eval misconceptions --limit 0", "'--limit'"),
        ("eval misconceptions --limit two", "'--limit'"),
        ("eval misconceptions --layers 1;2", "expected layers as 10,14, got '1;2'"),
        ("eval misconceptions --strengths a", "expected strengths as 0.15,0.3, got 'a'"),
        ("eval misconceptions --folds 0", "'--folds'"),
        ("eval misconceptions --sample 0", "'--sample'"),
        ("eval misconceptions --seed -1", "'--seed'"),
        ("eval misconceptions --randoms -1", "'--randoms'"),
        ("eval refusal --max-new-tokens 0", "'--max-new-tokens'"),
        ("eval misconceptions extra", "(extra)"),
        ("zoo pull", "'name'"),
    ],
)
def test_bad_usage_is_2(run: Run, words: str, culprit: str) -> None:
    outcome = run(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    usage, *_, complaint = outcome.err.splitlines()
    assert usage.startswith("Usage: steer ")
    assert complaint.startswith("Error: ")
    assert culprit in complaint.lower()
