"""The question `filters`: principal components of the patch kernel, and the table among them."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from analysis.made import DINOV2, dinov2
from made_states import checkpoint_of, deit, rand

import pe_inspect
from pe_inspect.analysis.filters import PatchKernel, filters
from pe_inspect.analysis.filters.components import components_of, share_inside
from pe_inspect.errors import UsageError
from pe_inspect.front.filters import filters_of


def kernel(dim=16, channels=3, height=4, width=3, seed=0):
    return PatchKernel("patch_embed.proj.weight", rand(dim, channels, height, width, seed=seed))


def test_components_are_those_of_the_covariance_of_the_filters():
    rows = kernel().rows
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))

    found = components_of(rows)

    assert found.spectrum == pytest.approx((values / values.sum())[::-1][:15], abs=1e-9)
    for component, expected in zip(found.filters[:5], vectors.T[::-1]):
        assert abs(component @ expected) == pytest.approx(1)
        assert component[np.abs(component).argmax()] > 0


def test_directions_are_where_a_component_s_filter_answers():
    rows = kernel().rows
    found = components_of(rows)
    answers = (rows - rows.mean(0)) @ found.filters[0]
    assert found.directions[0] == pytest.approx(answers / np.linalg.norm(answers))


def test_the_share_inside_is_what_a_projection_keeps():
    table, found = rand(12, 16, seed=1), components_of(kernel().rows)
    centred = table.astype(float) - table.astype(float).mean(0)
    basis = found.directions[:4]
    kept = np.linalg.norm(centred @ basis.T @ basis) ** 2 / np.linalg.norm(centred) ** 2

    shares = share_inside(table, found.directions)

    assert shares[3] == pytest.approx(kept, rel=1e-6)
    assert np.all(np.diff(shares) >= 0)


def test_a_random_table_has_k_of_d_inside(table_of):
    inside = []
    for seed in range(60):
        table = table_of(rand(12, 16, seed=seed), (3, 4))
        inside.append(filters(kernel(seed=100 + seed), table).inside)
    expected = filters(kernel()).at_random
    assert np.mean(inside, axis=0) == pytest.approx(expected, abs=0.04)


def test_a_table_of_the_filters_own_making_lies_inside(table_of):
    one = kernel()
    directions = components_of(one.rows).directions[:3]
    pe = table_of(rand(12, 3, seed=2) @ directions, (3, 4))
    result = filters(one, pe)
    assert result.inside[2] == pytest.approx(1, abs=1e-6)
    assert "100\N{NO-BREAK SPACE}% of the position table lies within the first 15" in result.finding


def test_equal_filters_and_constant_tables_have_no_share(table_of):
    equal = filters(PatchKernel("k", np.ones((8, 3, 2, 2), np.float32)))
    assert equal.finding == "All 8 filters are equal."
    assert math.isnan(equal.summary()["inside"])
    constant = filters(kernel(), table_of(np.full((12, 16), 0.3), (3, 4)))
    assert math.isnan(constant.summary()["inside"])
    assert constant.notes == ("The table is constant or not finite: no share of it is defined.",)


def test_a_table_of_another_width_is_not_compared(table_of):
    result = filters(kernel(), table_of(rand(12, 5), (3, 4)))
    assert result.pe is None
    assert result.notes[0].startswith("No table of vectors has the channels of these filters")


def test_a_broken_kernel_is_refused():
    values = rand(8, 3, 2, 2).copy()
    values[0, 0, 0, 0] = np.nan
    with pytest.raises(UsageError, match="1 of 96 values of k are not finite"):
        filters(PatchKernel("k", values))


def test_a_checkpoint_s_kernel_is_found_by_name_or_by_shape():
    state = {**deit(), "pos_embed": rand(1, 13, 8)}
    named = checkpoint_of(state, grid_size=(3, 4))
    renamed = checkpoint_of(
        {k.replace("patch_embed.proj", "tokeniser"): v for k, v in state.items()}, grid_size=(3, 4)
    )
    for checkpoint, key in ((named, "patch_embed.proj.weight"), (renamed, "tokeniser.weight")):
        result = filters_of(checkpoint, pe_inspect.extract(checkpoint))
        assert result.kernel.key == key
        assert result.kernel.values.shape == (8, 3, 4, 4)
        assert result.pe is not None


def test_a_model_without_such_a_kernel_says_so():
    checkpoint = checkpoint_of({"head.weight": rand(3, 8)})
    with pytest.raises(UsageError, match="no single convolution makes the patches"):
        filters_of(checkpoint, ())


def test_a_kernel_of_frames_keeps_its_shape():
    result = filters(PatchKernel("k", rand(20, 3, 2, 4, 3)))
    assert result.tiles.shape == (19, 3, 2, 4, 3)


def test_the_file_holds_what_the_figures_show(table_of):
    result = filters(kernel(), table_of(rand(12, 16), (3, 4)))
    file = io.BytesIO()
    result.save_npz(file)
    file.seek(0)
    arrays = np.load(file)
    assert arrays["tiles"].shape == (15, 3, 4, 3)
    assert arrays["spectrum"].shape == arrays["table_inside"].shape == (15,)
    assert result.to_frame().columns[0] == "component"


def test_real_filters_share_few_directions_with_the_table():
    dinov2()  # skips where the weights are not at hand
    numbers = pe_inspect.filters(str(DINOV2)).summary()
    assert numbers["inside"] == pytest.approx(0.00146, abs=1e-4)
    assert numbers["inside_at_random"] == pytest.approx(28 / 384)
