import re

import jaxtyping
import numpy as np
import pytest

from steer.hooks import (
    Site,
    SiteError,
    attn_out,
    embed,
    final,
    heads,
    mlp_out,
    resid_post,
    resid_pre,
    router,
)

WRITTEN = {
    "resid_pre.0": resid_pre(0),
    "resid_post.14": resid_post(14),
    "attn_out.5": attn_out(5),
    "mlp_out.123": mlp_out(123),
    "heads.2": heads(2),
    "router.7": router(7),
    "embed": embed,
    "final": final,
}


@pytest.mark.parametrize("text", WRITTEN)
def test_the_written_form_reads_back(text: str) -> None:
    site = WRITTEN[text]
    kind, _, layer = text.partition(".")
    assert str(site) == text
    assert (site.kind, site.layer) == (kind, int(layer) if layer else None)
    assert Site.parse(text) == site
    assert hash(Site.parse(text)) == hash(site)


def test_sites_sort_by_kind_and_then_by_layer() -> None:
    assert sorted([resid_post(10), resid_post(9), mlp_out(2)]) == [
        mlp_out(2),
        resid_post(9),
        resid_post(10),
    ]


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        (
            "residual",
            3,
            "Site: unknown kind 'residual'; expected one of "
            "resid_pre, resid_post, attn_out, mlp_out, heads, router, embed, final",
        ),
        ("", None, "Site: unknown kind ''"),
        ("final", 3, "Site: 'final' is not inside a layer; drop layer=3"),
        ("embed", 0, "Site: 'embed' is not inside a layer; drop layer=0"),
        (
            "mlp_out",
            None,
            "Site: 'mlp_out' needs a layer index from 0, got None; write mlp_out(14), for example",
        ),
        ("heads", None, "Site: 'heads' needs a layer index from 0, got None; write heads(14)"),
        ("router", -2, "Site: 'router' needs a layer index from 0, got -2; write router(14)"),
        ("resid_pre", -1, "Site: 'resid_pre' needs a layer index from 0, got -1"),
        ("resid_post", True, "Site: 'resid_post' needs a layer index from 0, got True"),
    ],
)
def test_a_wrong_site_is_refused(kind: str, layer: int | None, message: str) -> None:
    with pytest.raises(SiteError, match="^" + re.escape(message)):
        Site(kind, layer)


@pytest.mark.parametrize("text", ["resid_post.x", "resid_post.-1", "resid_post.1.5", "final. 3"])
def test_unreadable_text_is_refused(text: str) -> None:
    message = f"Site: cannot read {text!r}; write 'resid_post.14' or 'final'"
    with pytest.raises(SiteError, match=re.escape(message)):
        Site.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resid_post", "'resid_post' needs a layer index from 0, got None"),
        ("resid_post.", "'resid_post' needs a layer index from 0, got None"),
        ("final.3", "'final' is not inside a layer; drop layer=3"),
        ("layer.3", "unknown kind 'layer'"),
    ],
)
def test_text_of_a_wrong_site_is_refused(text: str, message: str) -> None:
    with pytest.raises(SiteError, match=re.escape(message)):
        Site.parse(text)


def test_integers_of_numpy_are_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert resid_post(np.int64(3)) == resid_post(3)
    assert str(resid_post(np.int64(3))) == "resid_post.3"
