"""The section `interpolate` of what is no table of vectors: networks, relative vectors, angles."""

from __future__ import annotations

import numpy as np
import pytest

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.similarity import similarity
from pe_inspect.families.reading.bias import offset_index
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.offset_network import OffsetNetwork
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding, Relation
from pe_inspect.page import report
from pe_inspect.page.frames import resampled_tracks

GRID = (3, 4)


def section_of(pe):
    return next(section for section in report(pe).sections if section.stem == "interpolate")


@pytest.fixture(scope="module")
def network():
    draw = np.random.default_rng(0).normal
    first, second = draw(size=(8, 2)).astype("f4"), draw(size=(2, 8)).astype("f4")
    asked = OffsetNetwork((first, second), (np.zeros(8, np.float32), None), GRID)
    bias = Lookup(asked.on(GRID).reshape(-1, 2).T, offset_index(GRID), asked)
    layers = (LayerPE.from_lookup("blocks.0", bias, GRID),)
    return PositionEmbedding("bias_network", "function", "layer", layers)


@pytest.fixture(scope="module")
def relative():
    draw = np.random.default_rng(0)
    layers = tuple(
        LayerPE(f"blocks.{k}", draw.normal(size=(7, 4)), (4, 4), 0, part)
        for k in range(2)
        for part in "yx"
    )
    relation = Relation("sum", "query-key")
    return PositionEmbedding("made_up", "relative", "layer", layers, relation=relation)


def test_a_network_is_asked_anew_and_has_no_way_back_to_lose_anything_on(network):
    section = section_of(network)
    numbers = interpolate(network, grid=(5, 7)).summary()
    kept = f"biases keep {100 * numbers['norm_ratio']:.3g}\N{NO-BREAK SPACE}% of their mean size"
    assert section.finding.startswith("Asked anew from 3×4 to 5×7 patches (native, which is cpb)")
    assert kept in section.finding
    assert "way there and back" not in section.finding
    assert [fact.name for fact in section.facts] == ["Length kept"]
    words = (section.how_to_read, section.definition.text, *section.caveats)
    assert all("network" in text and "stored" not in text for text in words)
    assert not any("as stored" in note for note in section.views[0].notes)


def test_a_method_that_resamples_what_a_network_gave_is_called_so(network):
    page = report(network, options={"interpolate": {"grid": (5, 7), "method": "bilinear"}})
    section = next(section for section in page.sections if section.stem == "interpolate")
    assert section.finding.startswith("Resampled from 3×4 to 5×7 patches (bilinear), biases keep")
    assert "Round-trip error" in [fact.name for fact in section.facts]


def test_relative_vectors_have_a_view_of_both_axes_together(relative):
    section = section_of(relative)
    assert "Shown is blocks.0, one of 2" in section.views[0].notes
    results = [interpolate(relative, grid=grid) for grid in ((4, 4), (7, 7))]
    (track,) = resampled_tracks(results)
    for frame, result in zip(track.frames, results):
        exact = similarity(result.embedding()).matrix[0, 0]
        codes = frame.maps[0].matrix
        shown = frame.maps[0].low + frame.maps[0].step * codes
        assert np.abs(shown - exact).max() <= frame.maps[0].error + 1e-6


def words_of(section):
    return " ".join([section.how_to_read, *section.caveats, *section.views[0].notes])


def biased(join):
    draw = np.random.default_rng(0)
    bias = Lookup(draw.normal(size=(2, 35)).astype("f4"), offset_index(GRID))
    layers = (LayerPE.from_lookup("blocks.0", bias, GRID),)
    return PositionEmbedding("relative_bias", "bias", join, layers)


def test_no_norm_is_said_to_act_on_a_plain_bias():
    words = words_of(section_of(biased("layer")))
    assert "smaller ones weaken position against content in their layer" in words
    assert "no norm acts on them" in words
    assert not any(false in words for false in ("rows", "before any norm", "evens out", "follows"))


def test_a_norm_over_the_keys_evens_out_the_size_of_a_bias():
    words = words_of(section_of(biased("lape")))
    assert "the norm over the keys afterwards evens it out" in words
    assert not any(false in words for false in ("rows", "no norm", "norms of the layers"))


def test_relative_vectors_are_used_in_their_layer_and_in_no_other(relative):
    words = words_of(section_of(relative))
    assert "shorter ones weaken position against content in their layer" in words
    assert "no norm acts on them" in words


def test_only_a_norm_of_the_table_alone_evens_out_its_rows(embedding):
    added, normed = (words_of(section_of(embedding(join=join))) for join in ("input", "lape"))
    assert "shorter rows weaken position" in added
    assert "act on the sum of content and position" in added
    assert "shorter rows weaken position" not in normed
    assert "a norm afterwards evens it out" in normed


def test_maps_of_query_and_value_tables_are_named_so_and_not_numbered_as_heads():
    draw = np.random.default_rng(0)
    layers = tuple(
        LayerPE("blocks.0", draw.normal(size=(5, 4)), GRID, 0, f"{name}.{axis}")
        for name in ("query", "value")
        for axis in "yx"
    )
    page = report(PositionEmbedding("made_up", "relative", "layer", layers))
    names = [view.head_names for section in page.sections for view in section.views]
    assert set(names) == {("query", "value")}
    assert '"headNames":["query","value"]' in page.html


def test_the_heads_of_a_bias_have_numbers(network):
    assert section_of(network).views[0].head_names == ()


def test_no_two_numbers_at_the_top_have_one_name():
    y, x = np.indices(GRID).reshape(2, 12, 1)
    angles = np.concatenate([y * [1, 0.1], x * [1, 0.1]], axis=1)[None]
    layers = (LayerPE("blocks.0", angles, GRID),)
    rotary = PositionEmbedding("rotary", "phases", "layer", layers)
    (chapter,) = report(rotary).chapters
    names = [fact.name for fact in (*chapter.traits, *chapter.facts, *chapter.found)]
    assert len(names) == len(set(names))
    assert "Neighbours on a new grid" in names
