"""Shapes and types are checked at run time while the tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

install_import_hook("steer", "beartype.beartype")

import torch  # noqa: E402

import tiny  # noqa: E402
from steer.hooks import Model  # noqa: E402

torch.set_num_threads(1)  # tiny tensors gain nothing from more, and lose much on a busy machine

DATA = Path(os.environ.get("STEER_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_gpu = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)


@pytest.fixture
def model() -> Model:
    return tiny.model()


@pytest.fixture(params=tiny.FAMILIES)
def any_model(request: pytest.FixtureRequest) -> Model:
    return tiny.model(request.param)


@pytest.fixture
def truthfulqa() -> Path:
    path = DATA / "truthfulqa.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}; set STEER_TEST_DATA to a folder that holds truthfulqa.jsonl")
    return path
