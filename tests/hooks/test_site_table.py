from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM

import families
import tiny
from steer.hooks import Model, SiteTable, resid_post, sites

KINDS = ["embed", "resid_pre", "heads", "attn_out", "router", "mlp_out", "resid_post", "final"]
Row = tuple[str, int | None, str]


def _rows(table: SiteTable) -> dict[str, Row]:
    return {row.kind: (row.layers, row.width, row.module) for row in table.rows}


def _llama(layer: str = "model.layers.{layer}", **others: Row) -> dict[str, Row]:
    return {
        "embed": ("", 32, "model.embed_tokens"),
        "resid_pre": ("0-3", 32, layer),
        "heads": ("0-3", 32, f"{layer}.self_attn.o_proj"),
        "attn_out": ("0-3", 32, f"{layer}.self_attn"),
        "router": ("none", None, ""),
        "mlp_out": ("0-3", 32, f"{layer}.mlp"),
        "resid_post": ("0-3", 32, layer),
        "final": ("", 32, "model.norm"),
    } | others


T5 = "decoder.block.{layer}"
EXPECTED: dict[str, dict[str, Row]] = {
    "llama": _llama(),
    # By its configuration the first layer is dense.
    "deepseek_v3": _llama(router=("1-3", 4, "model.layers.{layer}.mlp.gate")),
    "llama4": _llama(
        router=("1, 3", 4, "model.layers.{layer}.feed_forward.router"),
        mlp_out=("0-3", 32, "model.layers.{layer}.feed_forward"),
    ),
    "t5": _llama(
        T5,
        embed=("", 32, "decoder.embed_tokens"),
        heads=("0-3", 32, f"{T5}.layer.0.SelfAttention.o"),
        attn_out=("0-3", 32, f"{T5}.layer.0.SelfAttention"),
        mlp_out=("0-3", 32, f"{T5}.layer.2.DenseReluDense"),
        final=("", 32, "decoder.final_layer_norm"),
    ),
}


@pytest.mark.parametrize("family", EXPECTED)
def test_rows_by_hand(family: str) -> None:
    table = sites(families.network(family))
    assert [row.kind for row in table.rows] == KINDS
    assert _rows(table) == EXPECTED[family]
    assert table.unchecked is None
    notes = {row.kind: row.note for row in table.rows if row.note}
    assert notes == ({} if EXPECTED[family]["router"][1] else {"router": "not in this model"})


def test_heads_are_as_wide_as_all_heads_together() -> None:
    row = sites(families.network("deepseek_v3")).rows[KINDS.index("heads")]
    assert row.width == 4 * 8  # heads x v_head_dim
    assert row.meaning == "attention heads side by side, before the output projection"


@pytest.mark.parametrize(
    ("dense", "layers"),
    [([], "0-3"), ([2], "0-1, 3"), ([1], "0, 2-3"), ([0, 3], "1-2"), ([0, 1, 2], "3")],
)
def test_layers_are_shown_as_ranges(dense: list[int], layers: str) -> None:
    config = Qwen3MoeConfig(
        **tiny._COMMON,
        num_experts=6,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        mlp_only_layers=dense,
    )
    rows = _rows(sites(Qwen3MoeForCausalLM(config).eval()))
    assert rows["router"] == (layers, 6, "model.layers.{layer}.mlp.gate")
    assert rows["mlp_out"] == ("0-3", 32, "model.layers.{layer}.mlp")


def test_a_refused_site_has_its_reason() -> None:
    table = sites(families.network("bart"))
    final = table.rows[-1]
    reason = "the LM head does not read what leaves LayerNorm; name the last norm with "
    assert final.note == reason + 'places={"final": ...}'
    assert (final.layers, final.width) == ("", None)
    assert "the LM head does not read" in str(table)
    assert "after the last norm, what the LM head reads" not in str(table)


def _failing(message: str) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise ValueError(message)

    return forward


def _unchecked(message: str) -> PreTrainedModel:
    hf = tiny.network()
    hf.forward = _failing(message)
    return hf


def test_a_model_that_cannot_run_on_text_is_said_to_be_unchecked() -> None:
    table = sites(_unchecked("needs an image\nand more"))
    assert table.unchecked == "ValueError: needs an image"
    assert "not checked by a pass: ValueError: needs an image" in str(table)
    # Only a pass shows how wide these are.
    assert _rows(table) == _llama(heads=("0-3", None, "model.layers.{layer}.self_attn.o_proj"))


def test_it_is_shown_as_a_table() -> None:
    table = sites(tiny.model())
    lines = str(table).splitlines()
    assert repr(table) == str(table)
    assert lines[0].strip() == table.name == "tiny-llama"
    cells = [line.split() for line in lines if line.strip()]
    assert ["site", "layers", "width", "module", "meaning"] in cells
    assert ["embed", "32", "model.embed_tokens", "input", "embeddings"] in cells
    assert ["router", "none", "not", "in", "this", "model"] in cells
    row = next(cell for cell in cells if cell[0] == "mlp_out")
    assert row[1:4] == ["0-3", "32", "model.layers.{layer}.mlp"]
    assert "".join(cell[0] for cell in cells).count("resid_") == 2
    assert "\x1b" not in str(table)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["a[bold]b", "a[/x]b", "a:cat:b"])
def test_names_and_errors_are_shown_as_they_are(name: str) -> None:
    assert name in str(sites(Model(tiny.network(), name=name)))
    assert name in str(sites(Model(_unchecked(name), name="tiny")))


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_a_path_stands_in_one_piece(family: str) -> None:
    table = sites(families.network(family))
    assert all(row.module in str(table) for row in table.rows)


def test_places_named_by_hand_are_shown() -> None:
    places = {"mlp_out": "mlp.down_proj", "final": "model.layers.3"}
    rows = _rows(sites(Model(tiny.network(), places=places)))
    assert rows["mlp_out"] == ("0-3", 32, "model.layers.{layer}.mlp.down_proj")


def test_a_table_is_no_site() -> None:
    assert str(resid_post(1)) == "resid_post.1"
    assert isinstance(sites(tiny.model()), SiteTable)
