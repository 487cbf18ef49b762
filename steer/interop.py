"""Other libraries' evaluations on steered models: lm-evaluation-harness (`SteeredLM`).

    python -m steer.interop --model steer --model_args pretrained=smollm2,plan=plan.safetensors …

is `lm-eval` with one more model, `steer`.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._lm_eval import Steering as SteeredLM

__all__ = ["SteeredLM"]


def __getattr__(name: str) -> Any:
    if name != "SteeredLM":
        raise AttributeError(f"module 'steer.interop' has no attribute {name!r}")
    from ._lm_eval import steered_lm

    return steered_lm()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def main() -> None:
    """The command line of lm-eval, with the model `steer` beside its own."""
    from ._lm_eval import steered_lm
    from .hooks import SteerError

    try:
        steered_lm()
        import_module("lm_eval.__main__").cli_evaluate()
    except SteerError as error:
        sys.exit(f"steer: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
