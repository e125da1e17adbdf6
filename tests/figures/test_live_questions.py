"""Figures about live models: their artists, on planted sums of a 3×4 grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_traces import made_trace
from matplotlib.colors import LogNorm

import pe_inspect as pei
from pe_inspect.errors import UsageError
from pe_inspect.figures import drawings, drawings_each
from pe_inspect.traces import AttentionExample


def example():
    pixels = np.zeros((12, 16, 3), np.uint8)
    weights = np.full((2, 12), 0.05, np.float32)
    return AttentionExample(pixels, (1, 2), ("blocks.0",), ((3, 4),), (weights,))


@pytest.fixture(scope="module")
def attention():
    trace = made_trace()
    [sums] = trace.attention
    profile = np.array(sums.offset_profile) * 0.3
    profile[0, 2, 4] = 0.9  # one to the right
    sums = replace(sums, offset_profile=profile)
    blocks = (sums, replace(sums, layer="blocks.1"))
    names = ("blocks.0", "blocks.1")
    return pei.attention(replace(trace, attention=blocks, layer_names=names, example=example()))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_head_has_a_profile_on_one_logarithmic_scale_that_is_printed(attention):
    figure = drawings["attention"](attention)["attention"]
    sheet, bar = figure.axes
    assert len(sheet.get_images()) == 4
    norms = {id(image.norm) for image in sheet.get_images()}
    assert len(norms) == 1
    norm = sheet.get_images()[0].norm
    assert isinstance(norm, LogNorm)
    assert norm.vmin == pytest.approx(0.1 / 12)
    assert bar.get_yticklabels()[0].get_text() == "0.0083"
    assert bar.get_ylabel() == "attention at an offset"
    assert texts(figure) == ["0 right (.90)", "1", "0 right (.90)", "1"]
    assert [label.get_text() for label in sheet.get_yticklabels()] == ["0", "1"]
    [key] = sheet.get_legend().get_texts()[:1]
    assert key.get_text() == "looks mostly at one neighbour"


def test_a_layer_and_a_head_are_shown_alone(attention):
    figures = drawings["attention"](attention, layer="blocks.1", head=1)
    assert len(figures["attention"].axes[0].get_images()) == 1
    dots = [line for line in figures["attention_depth"].subfigs[0].axes[0].get_lines()
            if line.get_marker() == "o"]  # fmt: skip
    assert sum(len(line.get_xdata()) for line in dots) == 1
    with pytest.raises(UsageError, match="--head 2 is outside 0–1"):
        drawings["attention"](attention, head=2)


def test_distances_have_two_conventions(attention):
    def dots(**options):
        figure = drawings["attention"](attention, **options)["attention_depth"]
        axes = figure.subfigs[0].axes[0]
        return sorted(y for line in axes.get_lines() if line.get_marker() == "o"
                      for y in line.get_ydata())  # fmt: skip

    [first, *_] = attention.blocks
    assert dots() == sorted([*first.distance_renormalised] * 2)
    assert dots(renormalised=False) == sorted([*first.distance_raw] * 2)


def test_the_bars_of_a_head_end_at_the_logarithm_of_the_patches(attention):
    figure = drawings["attention"](attention)["attention_budget"]
    bars = figure.subfigs[0].axes[0].containers
    tops = [patch.get_y() + patch.get_height() for patch in bars[-1]]
    np.testing.assert_allclose(tops, 2.4849, atol=1e-6)
    assert [len(each) for each in bars] == [4, 4, 4]


def test_logits_are_nine_rows_centred_at_zero(attention):
    axes = drawings["attention"](attention)["attention_logits"].subfigs[0].axes[0]
    [image] = axes.get_images()
    assert image.get_array().shape == (9, 2)
    assert image.norm.vmin == -image.norm.vmax
    assert axes.get_yticklabels()[1].get_text() == "content × position"


def test_the_patch_is_outlined_in_the_image_and_in_every_map(attention):
    figure = drawings["attention"](attention)["attention_maps"]
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["the image", "block 0"]
    corners = {tuple(np.round(patch.get_xy(), 6)) for patch in axes.patches}
    assert len(corners) == 2
    [words] = [text.get_text() for text in figure.texts if text.get_gid() == "caption"]
    assert "row 1, column 2" in words.replace("\n", " ")


def test_each_head_has_a_file_of_its_own(attention):
    stems = [stem for stem, _ in drawings_each["attention"](attention)]
    assert stems == [f"attention_blocks.{i}_head{k}" for i in (0, 1) for k in (0, 1)]


@pytest.fixture(scope="module")
def contribution():
    return pei.contribution(made_trace())


def test_shares_are_drawn_beside_the_run_without_positions(contribution):
    figure = drawings["contribution"](contribution)["contribution"]
    left, right = figure.subfigs[0].axes
    drawn = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    np.testing.assert_array_equal(drawn["ω²"], contribution.omega2)
    np.testing.assert_array_equal(drawn["null: without positions"], contribution.omega2_null)
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "1", "norm"]
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), contribution.mean_colour_cka)


def test_position_maps_are_colours_without_a_scale_and_cosines_with_one(contribution):
    figures = drawings["contribution"](contribution, token=(2, 1))
    [colours] = figures["contribution_maps"].axes
    assert [image.get_array().shape for image in colours.get_images()] == [(3, 4, 3)] * 3
    sheet, bar = figures["contribution_similarity"].axes
    assert sheet.get_images()[0].get_array()[2, 1] == pytest.approx(1)
    assert (sheet.get_images()[0].norm.vmin, bar.get_ylabel()) == (-1, "cosine")
    one = drawings["contribution"](contribution, layer="final")["contribution_maps"]
    assert len(one.axes[0].get_images()) == 1


def test_colours_are_three_components_of_the_map(contribution):
    found = contribution.colours[1]
    flat = contribution.position_maps[1].astype(float)
    length = np.linalg.svd(flat, compute_uv=False)
    assert found.share == pytest.approx((length[:3] ** 2).sum() / (length**2).sum())
    np.testing.assert_allclose(found.rgb.min((0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(found.rgb.max((0, 1)), 1)
    projected = flat @ np.linalg.lstsq(flat, found.rgb.reshape(12, 3) - found.rgb.mean((0, 1)),
                                       rcond=None)[0]  # fmt: skip
    np.testing.assert_allclose(projected, found.rgb.reshape(12, 3) - found.rgb.mean((0, 1)),
                               atol=1e-6)  # fmt: skip


def test_edits_have_a_panel_of_their_own_for_the_cls_token(contribution):
    figure = drawings["contribution"](contribution)["contribution_edits"]
    assert [axes.get_title(loc="left") for axes in figure.subfigs[0].axes] == [
        "CLS token", "patches",
    ]  # fmt: skip


def test_the_length_of_tokens_is_logarithmic_with_a_line_for_the_cls_token(contribution):
    figure = drawings["contribution"](contribution)["contribution_norms"]
    axes = figure.subfigs[0].axes[0]
    assert axes.get_yscale() == "log"
    assert [line.get_label() for line in axes.get_lines()] == ["patches", "CLS token"]


@pytest.fixture(scope="module")
def probe():
    found = pei.probe(made_trace())
    return replace(found, r2=np.array([[0.9, 0.8], [0.5, -12], [0.2, 0.1]]))


def test_what_is_far_below_zero_is_drawn_at_the_edge_and_kept_in_the_data(probe):
    figure = drawings["probe"](probe)["probe"]
    row, column = figure.subfigs[0].axes
    label = "held-out images and places"
    assert {line.get_label(): line for line in row.get_lines()}[label].get_ydata()[1] == 0.5
    line = {line.get_label(): line for line in column.get_lines()}[label]
    assert line.get_ydata()[1] == -0.6
    assert column.get_ylim()[0] == pytest.approx(-0.65)
    assert probe.r2[1, 1] == -12


def test_ramps_are_the_channels_that_a_plane_explains_best(probe):
    figure = drawings["probe"](probe, layer="h1")["probe_ramps"]
    channel, share = probe.ramp_channels(1)[0]
    assert texts(figure)[0] == f"channel {channel}: {share:.2f}"
    image = figure.axes[0].get_images()[0].get_array()
    own = probe.trace.states["base"][1].patches[:, channel].reshape(3, 4)
    np.testing.assert_allclose(
        image, (own - own.mean()) / np.abs(own - own.mean()).max(), atol=1e-6
    )
