"""`steer zoo`: small models that need no hub."""

from typing import Annotated

import typer

from ._shared import Quiet, say

app = typer.Typer(help="Small real models that come from PyPI.", no_args_is_help=True)


@app.command("list")
def show() -> None:
    """List the models of the zoo.

    Example: steer zoo list
    """
    from steer._zoo import ZOO, is_pulled

    for model in ZOO.values():
        state = "in the cache" if is_pulled(model.name) else "not pulled"
        print(f"{model.name:12} {model.about}; {model.licence}; {state}")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A name of `steer zoo list`.")],
    quiet: Quiet = False,
) -> None:
    """Fetch a model, check it and convert it; afterwards it is used offline.

    Example: steer zoo pull smollm2
    """
    from transformers.utils import logging

    from steer import pull as pull_model

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place = pull_model(name, quiet=quiet)
    say(f"{name} is ready", quiet=quiet)
    print(place)
