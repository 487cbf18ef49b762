import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Prints the modules that are loaded after each step, and every attempt to import nnsight, whether
# or not that is installed.
_STEPS = """
import importlib, importlib.abc, json, pkgutil, sys
tried, loaded = [], {}
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "nnsight":
            tried.append(name)
sys.meta_path.insert(0, Watch())
import steer
steer.__all__, dir(steer)
loaded["steer"] = [*sys.modules]
import steer.hooks
loaded["hooks"] = [*sys.modules]
import steer.attribution
loaded["attribution"] = [*sys.modules]
for module in pkgutil.walk_packages(steer.__path__, "steer."):
    if module.name != "steer.__main__":
        importlib.import_module(module.name)
loaded["all"] = [*sys.modules]
print(json.dumps(loaded | {"nnsight": tried}))
"""


def _python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    return {step: set(names) for step, names in json.loads(_python("-c", _STEPS)).items()}


def _packages(names: set[str]) -> set[str]:
    """The packages of ours among modules: `steer.hooks._plan` counts as `steer.hooks`."""
    return {".".join(name.split(".")[:2]) for name in names if name.split(".")[0] == "steer"}


def test_importing_steer_imports_nothing_else(loaded: dict[str, set[str]]) -> None:
    assert _packages(loaded["steer"]) == {"steer"}
    assert not loaded["steer"] & {"torch", "transformers", "numpy", "captum", "typer"}


def test_importing_hooks_imports_no_method(loaded: dict[str, set[str]]) -> None:
    assert _packages(loaded["hooks"]) == {"steer", "steer.hooks"}
    assert {"torch", "transformers"} <= loaded["hooks"]
    assert not loaded["hooks"] & {"captum", "matplotlib", "typer", "gguf"}


def test_importing_a_method_imports_no_front_door(loaded: dict[str, set[str]]) -> None:
    assert _packages(loaded["attribution"]) == {"steer", "steer.hooks", "steer.attribution"}


def test_nothing_imports_nnsight(loaded: dict[str, set[str]]) -> None:
    assert {"steer._cli._eval", "steer._eval._tune", "steer.demos"} <= loaded["all"]
    assert loaded["nnsight"] == set()


def test_nothing_is_imported_by_a_second_path(loaded: dict[str, set[str]]) -> None:
    assert not loaded["all"] & {"hooks", "attribution", "controllers", "demos"}


@pytest.mark.parametrize("command", ["", "quickstart", "extract", "eval", "zoo", "zoo pull"])
def test_help_needs_no_torch(command: str) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'numpy'): sys.modules[name] = None\n"
        "from steer._cli import main\n"
        f"main([*{command!r}.split(), '--help'])\n"
    )
    assert _python("-c", code).startswith(f"Usage: steer {command}".strip())


def test_python_m_steer_is_the_command() -> None:
    first = _python("-m", "steer", "--help").splitlines()[0]
    assert first == "Usage: steer [OPTIONS] COMMAND [ARGS]..."
