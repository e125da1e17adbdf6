"""The figures of `layernorm`, by their artists."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from pe_inspect.analysis.layernorm import layernorm
from pe_inspect.figures.layernorm import draw
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding


def norm(layer, name, width=6, rms=False):
    rng = np.random.default_rng([*map(ord, layer + name)])
    bias = None if rms else rng.standard_normal(width)
    return LayerNormParams(layer, name, 1 + 0.3 * rng.standard_normal(width), bias, 1e-6)


def embedding(depth=4, *, lape=True, rms=False, grid_size=(3, 5)):
    names = (["pe_norm"] if lape else []) + ["norm1", "norm2"]
    norms = [norm(f"blocks.{i}", name, rms=rms) for i in range(depth) for name in names]
    values = np.random.default_rng(0).standard_normal((grid_size[0] * grid_size[1], 6))
    return PositionEmbedding(
        "learned_absolute", "vectors", "lape" if lape else "input",
        (LayerPE("input", values, grid_size),), (*norms, norm("", "norm", rms=rms)), depth=depth,
    )  # fmt: skip


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def words(figure):
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_every_norm_has_a_panel_for_weight_and_bias():
    figure = draw(layernorm(embedding()))["layernorm"]

    assert titles(figure) == [
        "pe_norm · γ", "norm1 · γ", "norm2 · γ", "pe_norm · β", "norm1 · β", "norm2 · β",
    ]  # fmt: skip
    assert "Not shown: norm (mean γ" in words(figure)


def test_panels_of_a_row_share_a_scale_that_holds_every_value():
    result = layernorm(embedding())
    weights = draw(result)["layernorm"].axes[:3]
    low, high = weights[0].get_ylim()

    assert {axes.get_ylim() for axes in weights} == {(low, high)}
    for name in ("pe_norm", "norm1", "norm2"):
        assert low < result.weights(name).min()
        assert result.weights(name).max() < high


def test_the_line_is_the_mean_and_the_thin_lines_are_the_range():
    result = layernorm(embedding())
    mean, _, least, greatest, _ = draw(result)["layernorm"].axes[1].lines
    rows = result.rows_named("norm1")

    assert list(mean.get_ydata()) == pytest.approx([row.weight["mean"] for row in rows])
    assert list(least.get_ydata()) == [row.weight["min"] for row in rows]
    assert list(greatest.get_ydata()) == [row.weight["max"] for row in rows]


def test_the_bands_hold_the_middle_half_and_the_middle_nine_tenths_of_the_channels():
    pe = embedding()
    axes = draw(layernorm(pe))["layernorm"].axes[1]
    weights = [norm.weight for norm in pe.norms if norm.name == "norm1"]

    for band, ends in zip(axes.collections, ((25, 75), (5, 95))):
        corners = band.get_paths()[0].vertices
        for k, weight in enumerate(weights):
            drawn = corners[corners[:, 0] == k, 1]
            expected = [np.quantile(weight, end / 100) for end in ends]
            assert [drawn.min(), drawn.max()] == pytest.approx(expected)
    assert "the middle 50 % and the middle 90 % (bands)" in words(axes.figure.figure)


def test_values_that_are_not_finite_are_left_out_of_the_bands():
    pe = embedding()
    weight = np.array([1, 2, 3, np.nan, np.inf, 2], np.float32)
    norms = tuple(replace(n, weight=weight) if n.path == "blocks.1.norm1" else n for n in pe.norms)
    mean = draw(layernorm(replace(pe, norms=norms)))["layernorm"].axes[1].lines[0]

    assert mean.get_ydata()[1] == 2


def test_drawing_with_seaborn_chooses_no_window_and_makes_no_pyplot_figure():
    import matplotlib as mpl
    from matplotlib import pyplot

    draw(layernorm(embedding()))

    assert pyplot.get_fignums() == []
    assert mpl.rcParams["backend"].lower() == "agg"


def test_rms_norms_have_no_panel_for_bias():
    figures = draw(layernorm(embedding(rms=True)))

    assert titles(figures["layernorm"]) == ["pe_norm · γ", "norm1 · γ", "norm2 · γ"]
    assert len(figures["layernorm_position"].axes) == 1


def test_channels_are_drawn_as_images_on_one_scale():
    figure = draw(layernorm(embedding()))["layernorm_channels"]
    images = [axes.images[0] for axes in figure.axes if axes.get_title(loc="left")]

    assert [image.get_array().shape for image in images] == [(4, 6)] * 3
    assert len({image.get_clim() for image in images}) == 1
    assert all(image.norm.clip for image in images)


def test_position_norms_stand_beside_token_norms():
    figure = draw(layernorm(embedding()))["layernorm_position"]
    (named,) = figure.subfigs[0].legends

    for axes in figure.axes:
        assert {line.get_label() for line in axes.lines} >= {"pe_norm", "norm1"}
    assert [text.get_text() for text in named.get_texts()] == ["pe_norm", "norm1"]


def test_cosines_are_aligned_by_layer_where_the_first_layer_has_no_position_norm():
    pe = embedding()
    pvg = replace(pe, join="pvg", norms=tuple(n for n in pe.norms if n.path != "blocks.0.pe_norm"))
    previous, norm1 = draw(layernorm(pvg))["layernorm_cosine"].axes

    lines = {line.get_label(): line for line in previous.lines}
    assert list(lines["norm1"].get_xdata()) == [0, 1, 2, 3]
    assert list(lines["pe_norm"].get_xdata()) == [1, 2, 3]
    assert len(norm1.lines) == 1


def test_the_decomposition_has_a_line_for_every_variant():
    result = layernorm(embedding())
    figure = draw(result)["layernorm_decomposition"]

    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == list(result.variants)
    scale = [part.variants[0].scale for part in result.decompositions]
    assert list(figure.axes[0].lines[0].get_ydata()) == scale


def test_a_proxy_is_called_one():
    figure = draw(layernorm(embedding(lape=False)))["layernorm_decomposition"]

    assert "proxy" in words(figure)
    assert "Table 8" in words(figure)


def test_models_without_position_norms_have_no_such_figure():
    assert "layernorm_position" not in draw(layernorm(embedding(lape=False)))


def test_a_pyramid_is_named_by_its_layers():
    norms = tuple(norm(f"layers.{s}.blocks.0", "norm1", width=4 << s) for s in range(3))
    figure = draw(layernorm(replace(embedding(), norms=norms)))["layernorm"]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]

    assert labels == ["layers.0.blocks.0", "layers.1.blocks.0", "layers.2.blocks.0"]


@pytest.mark.parametrize(
    "pe",
    [embedding(1), embedding(1, grid_size=(1, 1), rms=True), embedding(200, grid_size=(1, 4))],
    ids=["one layer", "one patch", "200 layers"],
)  # fmt: skip
def test_drawing_the_smallest_and_the_largest_does_not_raise(pe):
    for figure in draw(layernorm(pe)).values():
        figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_channels_that_narrower_layers_do_not_have_are_said_to_be_white():
    norms = tuple(
        LayerNormParams(f"layers.{k}.blocks.0", "norm1", np.ones(width), np.zeros(width), 1e-6)
        for k, width in enumerate((4, 4, 8))
    )
    table = LayerPE("layers.0.blocks.0", np.zeros((2, 12, 12)), (3, 4))
    wide = PositionEmbedding("relative_bias", "bias", "layer", (table,), norms)
    drawn = draw(layernorm(wide))["layernorm_channels"]
    words = " ".join(text.get_text() for text in drawn.texts).replace("\n", " ")
    assert "White: channels that narrower layers do not have." in words


def test_norms_that_are_not_drawn_are_counted():
    others = [("", f"norm_of_stage{k}") for k in range(5)]
    names = [("blocks.0", "norm1"), ("blocks.1", "norm1"), *others]
    norms = tuple(LayerNormParams(*each, np.ones(4), np.zeros(4), 1e-6) for each in names)
    table = LayerPE("blocks.0", np.zeros((2, 12, 12)), (3, 4))
    pe = PositionEmbedding("relative_bias", "bias", "layer", (table,), norms)
    drawn = draw(layernorm(pe))["layernorm"]
    words = " ".join(text.get_text() for text in drawn.texts).replace("\n", " ")
    assert "and 2 more." in words
