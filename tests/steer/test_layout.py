import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

import steer
import steer.hooks

ROOT = Path(__file__).parents[2]
LINKED = ("attribution", "controllers", "demos", "hooks")


@pytest.fixture
def setuptools() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return table["tool"]["setuptools"]


@pytest.mark.parametrize("name", LINKED)
def test_a_symlink_leads_to_each_folder(name: str) -> None:
    assert os.readlink(ROOT / "steer" / name) == f"../{name}"
    assert (ROOT / "steer" / name / "__init__.py").samefile(ROOT / name / "__init__.py")


def test_there_are_no_other_symlinks() -> None:
    found = {path.name for path in (ROOT / "steer").rglob("*") if path.is_symlink()}
    assert found == set(LINKED)


def test_every_package_folder_is_shipped(setuptools: dict[str, Any]) -> None:
    found = {"steer"}
    for top in ("steer", *LINKED):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.relative_to(ROOT).parent.parts
            if not any(parent.is_symlink() for parent in init.parents):
                found.add(".".join(parts if top == "steer" else ("steer", *parts)))
    assert setuptools["packages"] == sorted(found)


def test_the_build_finds_the_sub_packages_where_the_symlinks_lead(
    setuptools: dict[str, Any],
) -> None:
    expected = {"steer": "steer"} | {f"steer.{name}": name for name in LINKED}
    assert setuptools["package-dir"] == expected


def test_what_is_no_python_is_shipped(setuptools: dict[str, Any]) -> None:
    folders = {"steer": ROOT / "steer", "steer.data": ROOT / "steer" / "data"}
    assert set(setuptools["package-data"]) == set(folders)
    shipped = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in folders[package].glob(pattern)
    }
    others = {
        path
        for folder in ("steer", "steer/_templates", "steer/data", *LINKED)
        for path in (ROOT / folder).iterdir()
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert shipped == others
    names = {path.name for path in shipped}
    assert {"py.typed", "report.html", "misconceptions.jsonl", "requests.jsonl"} <= names


def test_the_classes_have_one_import_path() -> None:
    assert steer.Plan.__module__ == "steer.hooks._plan"
    assert Path(steer.hooks.__file__ or "").samefile(ROOT / "hooks" / "__init__.py")
