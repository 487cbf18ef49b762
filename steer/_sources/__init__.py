"""Where evaluation data comes from: packaged files, PyPI wheels, the user's files, the hub."""

from ._file import BuiltIn, File
from ._hub import Hub
from ._named import NAMED
from ._table import Source, Table
from ._wheel import Wheel
from ._which import table

__all__ = ["NAMED", "BuiltIn", "File", "Hub", "Source", "Table", "Wheel", "table"]
