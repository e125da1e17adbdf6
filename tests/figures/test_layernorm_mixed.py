"""Norms of which some have a bias and others have none are drawn, each with what it has."""

from __future__ import annotations

import numpy as np

from pe_inspect.analysis.layernorm import layernorm
from pe_inspect.figures import drawings
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding


def test_an_rms_norm_beside_layer_norms_has_no_panel_of_its_bias():
    values = np.random.default_rng(0).normal(size=(12, 8))
    ones = np.ones(8)
    norms = (
        LayerNormParams("blocks.0", "norm1", ones, np.zeros(8), 1e-6),
        LayerNormParams("", "norm", ones, None, 1e-6),
        LayerNormParams("blocks.0", "norm2", ones, None, 1e-6),
    )
    table = LayerPE("input", values, (3, 4))
    pe = PositionEmbedding("learned_absolute", "vectors", "input", (table,), norms=norms)
    figure = drawings["layernorm"](layernorm(pe))["layernorm"]
    titles = {axes.get_title() for axes in figure.axes} | {
        axes.get_title(loc="left") for axes in figure.axes
    }
    assert {"norm1 · γ", "norm1 · β", "norm2 · γ"} <= titles
    assert "norm2 · β" not in titles
