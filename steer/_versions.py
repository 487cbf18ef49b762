"""What numbers depend on besides model, plan and data."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Versions of Python, of steer and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in (
        "steer",
        "torch",
        "transformers",
        "tokenizers",
        "captum",
        "math-verify",
        "langdetect",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # steer itself, run from a checkout that is not installed
            found[name] = "not installed"
    return found
