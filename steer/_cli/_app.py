"""The `steer` command: finds the subcommand and turns errors into exit codes."""

import os
import sys
from collections.abc import Sequence

import typer

from . import _eval, _extract, _quickstart, _report, _sweep, _zoo

app = typer.Typer(
    name="steer",
    help="Steer language models at inference time, and measure honestly what changed.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("quickstart")(_quickstart.quickstart)
app.command("extract")(_extract.extract)
app.command("eval")(_eval.evaluate)
app.command("sweep")(_sweep.sweep)
app.command("report")(_report.report)
app.add_typer(_zoo.app, name="zoo")


@app.callback()
def _options(
    _debug: bool = typer.Option(
        False, "--debug", help="Show the traceback of expected errors (anywhere in the line)."
    ),
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from steer._versions import versions

        print(versions()["steer"])
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exits with 0, 1 (expected failure, one line on stderr), 2 (bad usage) or 130 (interrupted).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app([argument for argument in given if argument != "--debug"], prog_name="steer")
    except SystemExit as stop:
        if stop.code == 130 and _first():
            kept = given[:1] == ["quickstart"] or (
                given[:1] in (["eval"], ["sweep"])
                and any(word.split("=")[0] == "--out" for word in given)
            )
            hint = "; the same command goes on from there" if kept else ""
            print(f"steer: interrupted{hint}", file=sys.stderr)
        raise
    except Exception as error:
        from steer.hooks import SteerError

        if debug or not isinstance(error, SteerError):
            raise
        # Of several processes the first speaks for all, unless only another failed.
        notes = getattr(error, "__notes__", [])
        if notes or _first():
            text = "; ".join([str(error), *notes])
            print(f"steer: {' '.join(text.split())}", file=sys.stderr)
        sys.exit(1)


def _first() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or os.environ.get("RANK", "0") == "0"
