import sys

import pytest

import tiny
from steer._judges import TRUTH_QUESTION, Exchange, _named, judge_of, phrases, verdict
from steer.hooks import Model, SteerError, TaskError


def _load(name: str) -> Model:
    return tiny.model(name)


def test_phrases_by_name() -> None:
    assert judge_of("phrases", load=_load) is phrases


def test_phrases_know_no_other_question() -> None:
    with pytest.raises(TaskError, match="^judge phrases: finds refusals only"):
        judge_of("phrases", load=_load, question=TRUTH_QUESTION)


def test_a_model_by_name() -> None:
    exchanges = [Exchange("Is ice hot ?", "no")]
    judge = judge_of("model:gpt2", load=_load, question=TRUTH_QUESTION)
    assert judge(exchanges) == verdict(tiny.model("gpt2"), TRUTH_QUESTION)(exchanges)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_endpoint_by_name(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(_named, "endpoint", lambda *given: asked.append(given) or phrases)
    assert judge_of(f"{scheme}://host:8000/v1#org/m", load=_load, question="Is it?") is phrases
    assert asked == [(f"{scheme}://host:8000/v1", "org/m", "Is it?")]


@pytest.mark.parametrize(
    "name",
    ["", "phrase", "model", "model:", "http://host/v1", "http://host/v1#", "ftp://host/v1#m"],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(TaskError, match=f"^unknown judge '{name}'; expected phrases, model:NAME"):
        judge_of(name, load=_load)


def test_an_endpoint_needs_a_host() -> None:
    with pytest.raises(TaskError, match="^endpoint: this is no URL"):
        judge_of("http:#m", load=_load)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(SteerError, match=r'python -m pip install "steer\[judge\]"'):
        judge_of("http://localhost:1/v1#m", load=_load)
