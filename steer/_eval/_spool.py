"""Texts on the disk instead of in memory."""

import tempfile
import weakref
from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from steer.hooks import RunError

_IN_MEMORY = 1 << 20  # bytes; what is smaller needs no file


class Spool(Sequence[str]):
    """Texts in a file that goes when the spool does.

    Args:
        texts: what to keep; read once.

    Raises:
        RunError: the folder for temporary files cannot be written.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._ends = array("Q", [0])
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115, closed below
        weakref.finalize(self, self._file.close)
        for text in texts:
            try:
                size = self._file.write(text.encode(errors="surrogatepass"))
            except OSError as error:
                raise RunError(
                    f"cannot write to {tempfile.gettempdir()}: {error.strerror or error}; set "
                    "TMPDIR to a folder with room for the data"
                ) from error
            self._ends.append(self._ends[-1] + size)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        number = range(len(self))[at]
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return self._file.read(end - start).decode(errors="surrogatepass")
