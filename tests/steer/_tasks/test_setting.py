from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tiny
from steer._scoring import Asked
from steer._tasks import TEMPLATES, Setting
from steer.hooks import DataError, Model, ModelError, TaskError

TEMPLATE = (
    "{% for turn in messages %}[{{ turn.role }}]{{ turn.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
IMAGE = Path("cat.png")


@pytest.fixture
def chatty() -> Model:
    model = tiny.model()
    model.tokenizer.chat_template = TEMPLATE
    return model


def test_a_message_in_the_chat_template(chatty: Model) -> None:
    assert Setting(chatty, "chat").asked("Hi {x}") == Asked("[user]Hi {x}[assistant]")
    told = Setting(chatty, "chat", system="Be brief").asked("Hi")
    assert told == Asked("[system]Be brief[user]Hi[assistant]")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("plain", "Is {it} so?"),
        ("qa", "Q: Is {it} so?\nA:"),
        ("primer", TEMPLATES["primer"].replace("{question}", "Is {it} so?")),
    ],
)
def test_a_message_in_the_other_formats(chatty: Model, prompt: str, text: str) -> None:
    assert Setting(chatty, prompt).asked("Is {it} so?") == Asked(text)


@pytest.mark.parametrize("prompt", ["plain", "qa", "primer"])
def test_a_system_message_without_chat_is_refused(chatty: Model, prompt: str) -> None:
    setting = Setting(chatty, prompt, system="Be brief")
    with pytest.raises(TaskError, match=f"a system message needs --prompt chat, got {prompt}$"):
        setting.asked("Hi")


def test_chat_without_a_chat_template() -> None:
    with pytest.raises(DataError, match="no chat template; use plain prompts"):
        Setting(tiny.model(), "chat").asked("Hi")


def test_a_picture_for_a_model_that_reads_none() -> None:
    with pytest.raises(ModelError, match="^tiny-llama: reads no images"):
        Setting(tiny.model(), "plain").pictured("Hi", IMAGE)


class Processor(SimpleNamespace):
    """Has a chat template, and writes down what it is given."""

    chat_template = "yes"

    def apply_chat_template(self, turns: list[dict[str, Any]], **options: Any) -> str:
        self.turns, self.options = turns, options
        return "templated"


@pytest.mark.parametrize("system", [None, "Be brief"])
def test_a_picture_in_the_processor_s_chat_template(chatty: Model, system: str | None) -> None:
    chatty.processor = processor = Processor()
    found = Setting(chatty, "chat", system=system).pictured("What is it?", IMAGE)
    assert found == Asked("templated", IMAGE)
    user = {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}],
    }
    told = {"role": "system", "content": [{"type": "text", "text": "Be brief"}]}
    assert processor.turns == ([told] if system else []) + [user]
    assert processor.options == {"tokenize": False, "add_generation_prompt": True}


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("chat", "[user]<pic>\nWhat is it?[assistant]"),
        ("qa", "<pic>\nQ: What is it?\nA:"),
        ("plain", "<pic>\nWhat is it?"),
    ],
)
def test_a_picture_without_the_processor_s_chat_template(
    chatty: Model, prompt: str, text: str
) -> None:
    chatty.processor = SimpleNamespace(chat_template=None, image_token="<pic>")
    assert Setting(chatty, prompt).pictured("What is it?", IMAGE) == Asked(text, IMAGE)


def test_formats_other_than_chat_leave_the_chat_template_alone(chatty: Model) -> None:
    chatty.processor = Processor()
    assert Setting(chatty, "plain").pictured("Hi", IMAGE) == Asked("<image>\nHi", IMAGE)


def test_a_system_message_beside_a_picture_needs_chat(chatty: Model) -> None:
    chatty.processor = Processor()
    with pytest.raises(TaskError, match="a system message needs --prompt chat, got plain"):
        Setting(chatty, "plain", system="Be brief").pictured("Hi", IMAGE)
