"""The command line: each command parses, calls the library and prints."""

from ._app import main

__all__ = ["main"]
