"""Dependencies point one way: demos -> steer -> controllers, attribution -> hooks."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "hooks": {"hooks"},
    "attribution": {"attribution", "hooks"},
    "controllers": {"controllers", "hooks"},
    "steer": {"steer", "controllers", "attribution", "hooks"},
    "demos": {"demos", "steer", "controllers", "attribution", "hooks"},
}
BARE = {"hooks", "attribution", "controllers", "demos"}
METHODS = {"grains", "caa", "repe", "iti", "was", "latentseek", "rice", "refusal"}


def _files(folder: str) -> list[Path]:
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents)
    ]


def _imports(code: str, package: str) -> Iterator[str]:
    """Absolute names of everything imported anywhere in the code, inside functions too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _layer(name: str) -> str | None:
    """The layer that an absolute name belongs to; None if it is not ours."""
    top, *rest = name.split(".")
    if top != "steer":
        return None
    return rest[0] if rest and rest[0] in MAY_IMPORT else "steer"


def _violations(code: str, package: str) -> list[str]:
    allowed = MAY_IMPORT[_layer(package) or ""]
    names = list(_imports(code, package))
    return [n for n in names if n.split(".")[0] in BARE or (_layer(n) or "hooks") not in allowed]


def _package_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parent.parts
    return ".".join(parts if parts[0] == "steer" else ("steer", *parts))


def _words(code: str) -> set[str]:
    """The words of every identifier, snake_case and CamelCase split; no comment, no text."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.NAME:
            found |= {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", token.string)}
    return found


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_dependencies_point_one_way(folder: str) -> None:
    files = _files(folder)
    assert files
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in files
        if (wrong := _violations(path.read_text(encoding="utf-8"), _package_of(path)))
    }
    assert found == {}


def test_the_walk_sees_each_file_once() -> None:
    files = [path for folder in MAY_IMPORT for path in _files(folder)]
    assert ROOT / "hooks" / "_plan.py" in files
    assert ROOT / "steer" / "_eval" / "_tune.py" in files
    assert len({path.resolve() for path in files}) == len(files)


@pytest.mark.parametrize(
    ("package", "code", "wrong"),
    [
        ("steer.hooks", "from ._plan import Plan\nimport torch", []),
        ("steer.hooks", "from steer.attribution import caa", ["steer.attribution.caa"]),
        ("steer.hooks", "from ..attribution._caa import caa", ["steer.attribution._caa.caa"]),
        ("steer.hooks", "def f():\n    from steer import load", ["steer.load"]),
        ("steer.hooks", "from .. import _files", ["steer._files"]),
        ("steer.attribution", "import steer.controllers as c", ["steer.controllers"]),
        ("steer.attribution", "from steer.hooks import Plan", []),
        ("steer.controllers", "from steer import attribution", ["steer.attribution"]),
        ("steer.controllers", "import steer", ["steer"]),
        ("steer._eval", "from steer.demos import app", ["steer.demos.app"]),
        ("steer._eval", "from .._files import sha256\nfrom steer.attribution import Pair", []),
        ("steer.demos", "import steer\nfrom steer.hooks import Plan", []),
        ("steer", "import hooks", ["hooks"]),
        ("steer.hooks", "from hooks._plan import Plan", ["hooks._plan.Plan"]),
        ("steer.demos", "from attribution import caa", ["attribution.caa"]),
    ],
)
def test_the_rule_catches(package: str, code: str, wrong: list[str]) -> None:
    assert _violations(code, package) == wrong


@pytest.mark.parametrize("path", _files("hooks"), ids=lambda path: path.name)
def test_hooks_know_no_method(path: Path) -> None:
    assert _words(path.read_text(encoding="utf-8")) & METHODS == set()


def test_words_are_those_of_the_code() -> None:
    code = '"""grains"""\ndef was_here(CaaPlan, y):  # repe\n    return f(RICE=y, x="iti")\n'
    assert _words(code) & METHODS == {"was", "caa", "rice"}
