"""The `steer` command: finds the subcommand and turns errors into exit codes."""

import os
import sys
from collections.abc import Sequence

import typer

from . import _eval, _extract, _quickstart, _zoo

app = typer.Typer(
    name="steer",
    help="Steer language models at inference time, and measure honestly what changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("quickstart")(_quickstart.quickstart)
app.command("extract")(_extract.extract)
app.command("eval")(_eval.evaluate)
app.add_typer(_zoo.app, name="zoo")


@app.callback()
def _options(
    _debug: bool = typer.Option(
        False, "--debug", help="Show the traceback of expected errors (anywhere in the line)."
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exits with 0, 1 (expected failure, one line on stderr), 2 (bad usage) or 130 (interrupted; the
    same command goes on from there).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app([argument for argument in given if argument != "--debug"], prog_name="steer")
    except SystemExit as stop:
        if stop.code == 130:
            print("steer: interrupted; the same command goes on from there", file=sys.stderr)
        raise
    except Exception as error:
        from steer.hooks import SteerError

        if debug or not isinstance(error, SteerError):
            raise
        print(f"steer: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
