"""The folder where models and data are kept."""

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """`$STEER_HOME`, or the user's cache folder for steer."""
    chosen = os.environ.get("STEER_HOME")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("steer"))
