"""Sections of real results: what each question's part of the page says."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest

from pe_inspect.analysis import questions
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.layernorm import layernorm
from pe_inspect.analysis.similarity import similarity
from pe_inspect.families.reading.bias import offset_index
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE
from pe_inspect.page import report
from pe_inspect.page.sections import in_reading_order, sections

STEMS = ("similarity", "structure", "layernorm", "interpolate")
ALL = (*STEMS, "doctor")


@pytest.fixture(scope="module")
def page(embedding):
    return report(embedding())


def by_stem(page):
    return {section.stem: section for section in page.sections}


def numbers_in(text: str) -> list[float]:
    return [float(x.replace("−", "-")) for x in re.findall(r"−?\d+\.\d+", text)]


def test_every_module_of_the_folder_registers_a_section_of_its_own_name():
    names = [module.rpartition(".")[2] for module in sections.modules()]
    assert sorted(names) == sorted(sections)
    assert set(sections) - {"doctor"} <= set(questions)
    assert all(importlib.import_module(module).__doc__ for module in sections.modules())


def test_every_question_that_one_embedding_can_be_asked_has_its_section():
    first = {
        word: next(iter(signature(ask).parameters.values())) for word, ask in questions.items()
    }
    of_one = {word for word, one in first.items() if one.annotation == "PositionEmbedding"}
    assert of_one >= {"similarity", "layernorm", "interpolate"}
    assert of_one <= set(sections)


def test_the_embedding_itself_comes_first():
    assert in_reading_order()[:4] == list(STEMS)
    assert sorted(in_reading_order()) == sorted(sections)


def test_a_new_section_is_one_function(monkeypatch, embedding):
    from pe_inspect.page.content import Definition, Section

    def words(subject):
        return Section("zeta", "Zeta", "?", f"{subject.label}.", (), "", Definition(""))

    monkeypatch.setitem(sections._entries, "zeta", words)
    monkeypatch.setattr("pe_inspect.page.build.in_reading_order", lambda: ["zeta"])
    assert [section.finding for section in report(embedding()).sections] == ["small."]


@pytest.mark.parametrize("stem", STEMS)
def test_a_section_has_all_that_a_reader_needs(page, stem):
    section = by_stem(page)[stem]
    assert section.finding.endswith(".")
    assert numbers_in(section.finding)
    assert section.figures
    assert section.figures[0].alt == section.finding
    assert section.how_to_read
    assert section.caveats
    assert section.definition.text
    assert section.definition.source
    assert all(table.rows for table in section.tables)
    assert section.facts
    assert section.parameters


def test_similarity_says_how_alike_near_and_far_patches_are(embedding, page):
    section, numbers = by_stem(page)["similarity"], similarity(embedding()).summary()
    found = numbers_in(section.finding)
    assert found[0] == round(numbers["neighbours"], 2)
    assert found[1] == round(numbers["far"], 2)
    assert found[-1] == round(numbers["correlation_to_previous"], 2)
    assert "from blocks.0 to blocks.1" in section.finding
    assert section.definition.formula.startswith("ω_l = LN_l(ω_(l−1))")
    assert [picture.stem for picture in section.figures] == [
        "similarity_fig7", "similarity_query", "similarity",
    ]  # fmt: skip


def test_a_proxy_is_called_a_proxy(embedding):
    (section,) = report([similarity(embedding(join="input"))]).sections
    assert "Proxy maps show LN1 of each layer applied to the table" in section.how_to_read
    assert section.definition.formula == "ω_l = LN1_l(table), a proxy"


def test_layernorm_says_what_the_norms_do_to_the_table(embedding, page):
    section, numbers = by_stem(page)["layernorm"], layernorm(embedding()).summary()
    for name in (
        "norm1_weight_mean", "pe_norm_weight_mean", "pe_norm_cosine_to_norm1", "scale_before",
        "scale_after", "neighbour_cosine_before", "neighbour_cosine_after",
    ):  # fmt: skip
        assert round(numbers[name], 2) in numbers_in(section.finding), name
    assert [len(table.rows) for table in section.tables] == [4, 2 * 6]


def test_layernorm_speaks_only_of_what_is_on_the_page(embedding, page):
    words = by_stem(page)["layernorm"]
    assert "decomposition" in words.how_to_read
    assert "position norms" in words.how_to_read
    norms = tuple(norm for norm in embedding().norms if norm.name == "norm1")
    layers = (LayerPE("blocks.0", np.random.default_rng(0).normal(size=(2, 12, 12)), (3, 4)),)
    bias = embedding(family="relative_bias", kind="bias", join="layer", tables=layers, norms=norms)
    plain = by_stem(report(bias))["layernorm"]
    assert "decomposition" not in plain.how_to_read
    assert "position norms" not in plain.how_to_read
    assert not any(name.startswith(("decomposition", "ω")) for name, _ in plain.definition.terms)
    assert "variants" not in plain.definition.text


def test_the_norm_of_no_layer_has_a_row_with_a_name(embedding):
    last = LayerNormParams("", "norm", np.ones(8, np.float32), np.zeros(8, np.float32), 1e-6)
    pe = embedding()
    section = by_stem(report(replace(pe, norms=(*pe.norms, last))))["layernorm"]
    assert section.tables[0].rows[-1][:2] == ("model", "norm")


def test_interpolation_goes_from_224_to_384_pixels_unless_told_otherwise(embedding, page):
    section = by_stem(page)["interpolate"]
    assert section.finding.startswith("Resampled from 3×4 to 5×7 patches (native, which is ")
    chosen = report(embedding(), options={"interpolate": {"res": 128, "method": "bilinear"}})
    finding = by_stem(chosen)["interpolate"].finding
    assert finding.startswith("Resampled from 3×4 to 8×8 patches (bilinear), rows keep")


def test_interpolation_says_what_its_result_says(embedding, page):
    numbers = interpolate(embedding(), grid=(5, 7)).summary()
    finding = by_stem(page)["interpolate"].finding
    for name in ("norm_ratio", "round_trip_error", "error_border", "error_interior"):
        assert f"{100 * numbers[name]:.3g}\N{NO-BREAK SPACE}%" in finding, name


def test_a_kind_that_is_not_resampled_has_a_reason_instead_of_a_section(embedding):
    computed = LayerPE("blocks.0", np.random.default_rng(0).normal(size=(12, 4)), (3, 4))
    peg = embedding(family="peg", kind="function", join="layer", tables=(computed,), stored=False)
    page = report(peg)
    assert "interpolate" not in by_stem(page)
    (omission,) = page.chapters[0].omissions
    assert omission.stem == "interpolate"
    assert "computed from the input, so there is no table to resample" in omission.reason
    assert page.chapters[0].lede.endswith("It is not in the file: its values were computed.")


def test_angles_are_computed_anew_and_have_no_lengths(embedding):
    y, x = np.indices((3, 4)).reshape(2, 12, 1)
    angles = np.concatenate([y * [1, 0.1], x * [1, 0.1]], axis=1)[None]
    layers = (LayerPE("blocks.0", angles, (3, 4)),)
    page = report(embedding(family="rotary", kind="phases", join="layer", tables=layers))
    section = by_stem(page)["interpolate"]
    assert section.finding.startswith(
        "Computed anew from 3×4 to 5×7 patches (rule unknown, rope-vit's is shown, extrapolate)"
    )
    assert [len(table.rows) for table in section.tables] == [4]


def test_a_checkpoint_without_norms_says_so(embedding):
    (omission,) = report(embedding(join="input", norms=())).chapters[0].omissions
    assert omission.reason.startswith("No LayerNorm in this checkpoint")


@pytest.mark.parametrize(
    "values",
    [np.full((13, 8), np.nan), np.zeros((13, 8)), np.ones((13, 8))],
    ids=["missing", "zero", "constant"],
)
def test_a_table_without_information_has_a_page_without_nonsense(values, embedding, read_page):
    page = report(embedding(tables=(LayerPE("input", values, (3, 4), 1),)))
    assert [section.stem for section in page.sections] == list(ALL)
    assert not any("nan" in section.finding for section in page.sections)
    read_page(page.html)


@pytest.mark.parametrize("grid_size", [(1, 1), (5, 1)])
def test_narrow_grids_have_a_page(grid_size, embedding, read_page):
    rows = grid_size[0] * grid_size[1]
    values = np.random.default_rng(0).normal(size=(rows, 8))
    page = report(embedding(tables=(LayerPE("input", values, grid_size),), num_prefix_tokens=0))
    assert not any("nan" in section.finding for section in page.sections)
    read_page(page.html)


def test_an_embedding_without_tables_says_that_there_is_nothing_to_ask(embedding):
    page = report(embedding(tables=(), norms=()))
    assert page.sections == ()
    assert {o.reason for o in page.chapters[0].omissions} == {
        "this model has no position table to ask about"
    }


def test_finished_results_are_shown_as_they_are(embedding):
    result = similarity(embedding(), token=(2, 3))
    page = report([result])
    assert [section.stem for section in page.sections] == ["similarity"]
    assert ("token", "2,3") in page.sections[0].parameters


def test_a_page_of_14x14_patches_and_12_layers_is_near_half_a_megabyte(embedding):
    draw = np.random.default_rng(0)
    table = LayerPE("input", draw.normal(size=(197, 64)), (14, 14), 1)
    norm = embedding().norms[0]
    wide = [
        replace(norm, layer=f"blocks.{i}", name=name, weight=draw.normal(size=64), bias=None)
        for i in range(12)
        for name in ("norm1", "norm2", "pe_norm")
    ]
    page = report(embedding(tables=(table,), norms=tuple(wide), depth=12))
    assert len(page.sections) == 5
    assert len(page.html.encode()) < 550_000


def test_the_same_embedding_gives_the_same_bytes(embedding):
    pages = [report([similarity(embedding())], now="2025").html for _ in range(2)]
    assert pages[0] == pages[1]


def test_a_computed_table_is_never_called_stored(embedding):
    table = LayerPE("blocks.0", np.ones((2, 12, 4), np.float32), (3, 4))
    pe = replace(embedding(), kind="phases", join="layer", tables=(table,), norms=(), stored=False)

    section = by_stem(report(pe))["similarity"]

    assert "as computed, not stored" in section.how_to_read
    assert "Stored maps" not in section.how_to_read
    assert section.caveats[0].startswith("Positions that are alike rotate queries and keys alike")


def layers_of(pe):
    (fact,) = (fact for fact in report(pe).chapters[0].facts if fact.name == "Layers")
    return fact.value, fact.meaning


def test_what_layers_share_is_counted_once(embedding):
    draw = np.random.default_rng(0)
    bias = Lookup(draw.normal(size=(2, 35)).astype(np.float32), offset_index((3, 4)))
    given = {"kind": "bias", "join": "layer", "norms": (), "family": "relative_bias", "depth": 3}
    shared = [LayerPE.from_lookup(f"blocks.{k}", bias, (3, 4)) for k in range(3)]
    own = [replace(table, values=table.values + k) for k, table in enumerate(shared)]
    assert layers_of(embedding(**given, tables=tuple(shared))) == (3, "1 stored table")
    assert layers_of(embedding(**given, tables=tuple(own))) == (3, "3 stored tables")


def test_angles_of_all_layers_are_counted_as_the_tensors_that_the_file_holds(embedding):
    draw = np.random.default_rng(0)
    layers = tuple(LayerPE(f"blocks.{k}", draw.normal(size=(1, 12, 4)), (3, 4)) for k in range(6))
    given = {"kind": "phases", "join": "layer", "tables": layers, "norms": (), "depth": 6}
    held = embedding(**given, keys=("rope.freqs_sin", "rope.freqs_cos"))
    computed = embedding(**given, keys=(), stored=False)
    assert layers_of(held) == (6, "2 stored tensors")
    assert layers_of(computed) == (6, "6 computed tables")


def test_angles_are_not_said_to_wait_for_a_norm(embedding):
    values = np.random.default_rng(0).normal(size=(2, 12, 4)).astype(np.float32)
    pe = embedding(kind="phases", join="layer", tables=(LayerPE("blocks.0", values, (3, 4)),))

    page = by_stem(report(pe))

    assert "before any norm" not in page["similarity"].how_to_read
    assert "no norm acts on" in page["similarity"].how_to_read
    assert "sum of content and position" not in page["layernorm"].caveats[0]
    assert page["layernorm"].caveats[0].startswith("This embedding enters inside attention")


def test_added_positions_are_in_the_sum_that_norms_act_on(page):
    assert "sum of content and position" in by_stem(page)["layernorm"].caveats[0]


def test_a_computed_embedding_names_the_paper_of_its_network(embedding):
    table = LayerPE("blocks.0", np.random.default_rng(0).normal(size=(12, 4)), (3, 4))
    pe = embedding(family="conditional", kind="function", join="layer", tables=(table,), norms=())
    source = by_stem(report(pe))["similarity"].definition.source
    assert source.startswith("arXiv:2102.10882 (CPVT)")


def test_a_pyramid_of_several_widths_names_them_all(embedding):
    draw = np.random.default_rng(0)
    tables = tuple(
        LayerPE(f"stages.{k}", draw.normal(size=(12, width)), (3, 4))
        for k, width in enumerate((8, 16, 16, 24))
    )
    page = report(embedding(join="layer", tables=tables, norms=(), num_prefix_tokens=0))
    widths = next(fact for fact in page.chapters[0].facts if fact.name == "Channels")
    assert (widths.value, widths.meaning) == ("8, 16 and 24", "by table")
