"""`steer report`: one page of one or more runs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ._shared import Quiet, say


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that --out of a run named.")],
    out: Annotated[
        Path | None, typer.Option(help="The page, .html or .md; default Markdown on the screen.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Show one or more runs on one page, as HTML or Markdown.

    Example: steer report runs/a runs/b --out both.html
    """
    from steer._eval._report import html, markdown
    from steer._files import write_text
    from steer.hooks import DataError, RunError

    if out is not None and out.suffix not in (".html", ".md"):
        raise DataError(f"report: expected --out with .html or .md, got {out}")
    summaries = [_summary(folder) for folder in folders]
    if out is None:
        print(markdown(summaries), end="")
        return
    page = html(summaries) if out.suffix == ".html" else markdown(summaries)
    try:
        write_text(out, page)
    except OSError as error:
        raise RunError(f"report: cannot write {out}: {error.strerror or error}") from error
    say(f"wrote {out}", quiet=quiet)


def _summary(folder: Path) -> dict[str, Any]:
    """What a run found.

    Raises:
        DataError: no summary there, or something else.
    """
    from steer.hooks import DataError

    path = folder / "summary.json" if folder.is_dir() else folder
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"report: {path} cannot be read ({why}); {_EXPECTED}") from error
    if not isinstance(found, dict) or not found.keys() >= _KEYS:
        raise DataError(f"report: {path} is no summary of this version of steer; {_EXPECTED}")
    return found


_EXPECTED = "expected the folder of a run that has ended, as --out named it"
_KEYS = {
    *("task", "model", "items", "seconds", "metrics", "base", "methods", "controls", "tuning"),
    *("chosen", "examples", "costs", "versions"),
}
