"""Answers about images, from a tiny LLaVA and the processor of its kind."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPImageProcessor, LlavaProcessor

import families
import onerow
import parts
import scored
import tiny
from scored import V
from steer._scoring import Asked, answers
from steer.hooks import IMAGE, DataError, Model, ModelError, add, attach, resid_post

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

MARK = families.IMAGES["llava"]
PATCHES = 4  # 8 x 8 pixels in patches of 4 x 4
TEXTS = ["<image> the sky is", "What <image> is the big old sea ?", "Is it hot"]


def _llava() -> Model:
    words = tiny.tokenizer()
    words.add_tokens(["<60>", "<61>", "<62>"])
    words.add_tokens(["<image>"], special_tokens=True)
    assert words.convert_tokens_to_ids("<image>") == MARK
    size = {"height": 8, "width": 8}
    processor = LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size, do_convert_rgb=False),
        words,
        patch_size=4,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    hf = families.network("llava")
    hf.generation_config.eos_token_id = None
    return Model(hf, processor)


@pytest.fixture
def llava() -> Model:
    return _llava()


@pytest.fixture
def asked(tmp_path: Path) -> list[Asked]:
    for n in range(2):
        pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(n))
        Image.fromarray(pixels.byte().numpy()).save(tmp_path / f"{n}.png")
    return [
        Asked(TEXTS[0], tmp_path / "0.png"),
        Asked(TEXTS[1], tmp_path / "1.png"),
        Asked(TEXTS[2]),
    ]


def _pixels(path: Path) -> torch.Tensor:
    """As CLIP normalizes them: of 8 x 8 pixels nothing is cut and nothing scaled."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    with Image.open(path) as image:
        data = torch.tensor(list(image.convert("RGB").tobytes())).reshape(8, 8, 3) / 255
    return ((data - mean) / std).permute(2, 0, 1).unsqueeze(0)


@torch.no_grad()
def _by_hand(model: Model, one: Asked, rule: onerow.Rule | None, new: int = 4) -> str:
    ids = {"<image>": [MARK] * PATCHES}
    words = [ids.get(w) or [4 + tiny.WORDS.index(w)] for w in one.text.split()]
    row = [token for word in words for token in word]
    prompt, given = len(row), {}
    if one.image is not None:
        given["pixel_values"] = _pixels(one.image)
    layer = model.hf.model.language_model.layers[1]
    for _ in range(new):
        here = torch.zeros(1, len(row), dtype=torch.bool)
        here[0, [] if rule is None else onerow.chosen(rule, prompt, row)] = True
        with parts.changing(layer, parts.adding(V, here)):
            out = model.hf(torch.tensor([row]), use_cache=False, **given)
        row.append(int(out.logits[0, -1].argmax()))
    return " ".join(tiny.WORDS[i - 4] for i in row[prompt:] if i > 3)


@pytest.mark.parametrize("batch_tokens", [1, 1024])
def test_answers_about_images_equal_those_by_hand(
    llava: Model, asked: list[Asked], batch_tokens: int
) -> None:
    plans = {
        "all": scored.plan("all"),
        None: None,
        "generated": scored.plan("generated"),
        ("any_of", MARK): add(resid_post(1), V, span=IMAGE),
    }
    found = answers(llava, asked, list(plans.values()), max_new_tokens=4, batch_tokens=batch_tokens)
    expected = [[_by_hand(llava, one, rule) for one in asked] for rule in plans]
    assert [[answer.text for answer in arm] for arm in found] == expected
    assert len({arm[0] for arm in expected} | {arm[1] for arm in expected}) > 2


def test_the_image_is_seen(llava: Model, asked: list[Asked]) -> None:
    other = [asked[0]._replace(image=asked[1].image), asked[1]._replace(image=asked[0].image)]
    first, second = (answers(llava, some, max_new_tokens=4)[0] for some in (asked[:2], other))
    assert [a.text for a in second] == [_by_hand(llava, one, None) for one in other]
    assert first != second


def test_an_image_with_an_alpha_channel_or_a_palette_is_read(
    llava: Model, asked: list[Asked], tmp_path: Path
) -> None:
    for mode in ("RGBA", "P", "L"):
        path = tmp_path / f"{mode}.png"
        with Image.open(str(asked[0].image)) as image:
            image.convert(mode).save(path)
        one = Asked(TEXTS[0], path)
        assert answers(llava, [one], max_new_tokens=4)[0][0].text == _by_hand(llava, one, None)


@pytest.mark.parametrize("made", ["nothing", "text", "folder", "half"])
def test_an_image_that_cannot_be_read_is_refused(
    llava: Model, asked: list[Asked], tmp_path: Path, made: str
) -> None:
    path = tmp_path / "broken.png"
    if made == "text":
        path.write_text("no image")
    elif made == "folder":
        path.mkdir()
    elif made == "half":
        path.write_bytes(Path(str(asked[0].image)).read_bytes()[:100])
    hooks = tiny.hook_count(llava.hf)
    with pytest.raises(DataError, match=r"^cannot read the image .*broken\.png \("):
        answers(llava, [asked[0], Asked(TEXTS[0], path)], [scored.plan("all")])
    assert tiny.hook_count(llava.hf) == hooks


def test_a_text_model_with_an_image_is_refused(model: Model, asked: list[Asked]) -> None:
    message = "^tiny-llama: reads no images; choose a vision-language model$"
    with pytest.raises(ModelError, match=message):
        answers(model, asked)
    assert len(answers(model, asked[2:], max_new_tokens=1)[0]) == 1


def test_a_model_that_reads_images_answers_texts_alone(llava: Model, asked: list[Asked]) -> None:
    with attach(llava, None):
        found = answers(llava, asked[2:], [scored.plan("all")], max_new_tokens=4)
    assert found[0][0].text == _by_hand(llava, asked[2], "all")
