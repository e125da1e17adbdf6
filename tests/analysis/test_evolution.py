"""One run over time: numbers against numpy, and what cannot be one run."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from closeness import ROUNDING, assert_close

from pe_inspect.analysis.evolution import evolution
from pe_inspect.analysis.evolution.appearance import appears_at
from pe_inspect.analysis.similarity import similarity
from pe_inspect.analysis.structure import structure
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

GRID = (3, 4)


def table(values, **fields) -> PositionEmbedding:
    fields = {"join": "input", "source": "epoch.pth", **fields}
    layer = LayerPE("input", np.asarray(values, np.float32), GRID, 1)
    return PositionEmbedding("learned_absolute", "vectors", tables=(layer,), **fields)


@pytest.fixture(scope="module")
def run():
    """Four snapshots between noise and a table whose neighbours are alike."""
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(13, 6))
    y, x = np.indices(GRID).reshape(2, 12, 1)
    smooth = np.concatenate([np.cos(k * along / 3) for k in (1, 2, 3) for along in (y, x)], axis=1)
    smooth = np.concatenate([noise[:1], smooth])
    return [table((1 - part) * noise + part * smooth) for part in (0, 0.5, 0.9, 1)]


def cosines(pe):
    rows = pe.tables[0].patches.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def off_diagonal(values):
    return values[~np.eye(len(values), dtype=bool)]


def test_the_maps_are_those_of_similarity_epoch_by_epoch(run):
    result = evolution(run, epochs=[0, 10, 20, 30])
    ((view, maps),) = [(view, list(maps)) for view, maps in result.maps()]
    assert view.grid_size == GRID
    for values, pe in zip(maps, run):
        assert_close(values, similarity(pe).matrix[0, 0])
        assert_close(values, cosines(pe))


def test_the_numbers_are_what_their_definitions_say(run):
    result = evolution(run, epochs=[0, 10, 20, 30])
    last = off_diagonal(cosines(run[-1]))
    flat = [pe.tables[0].values.ravel().astype(np.float64) for pe in run]
    for k, row in enumerate(result.rows()):
        now = off_diagonal(cosines(run[k]))
        assert row["epoch"] == 10 * k
        assert row["mean"] == pytest.approx(now.mean(), abs=ROUNDING)
        assert row["structure_to_last"] == pytest.approx(np.corrcoef(now, last)[0, 1], abs=1e-5)
        lengths = np.linalg.norm(run[k].tables[0].patches.astype(np.float64), axis=1)
        assert row["norm"] == pytest.approx(lengths.mean(), rel=ROUNDING)
        alike = flat[k] @ flat[-1] / np.linalg.norm(flat[k]) / np.linalg.norm(flat[-1])
        assert row["cosine_to_last"] == pytest.approx(alike, rel=ROUNDING)
        if k:
            moved = np.linalg.norm(flat[k] - flat[k - 1]) / np.linalg.norm(flat[k - 1])
            assert row["change"] == pytest.approx(moved, rel=ROUNDING)
            before = off_diagonal(cosines(run[k - 1]))
            expected = np.corrcoef(now, before)[0, 1]
            assert row["structure_to_previous"] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(result.rows()[0]["change"])
    assert np.isnan(result.rows()[0]["structure_to_previous"])


def test_the_summary_says_where_the_run_begins_ends_and_settles(run):
    result = evolution(run, epochs=[0, 10, 20, 30])
    numbers = result.summary()
    assert numbers["num_snapshots"] == 4
    assert numbers["norm_first"] == result.rows()[0]["norm"]
    assert numbers["neighbours_last"] == similarity(run[-1]).summary()["neighbours"]
    alike = [row["structure_to_last"] for row in result.rows()]
    assert numbers["settled_at"] == 10 * next(
        k for k in range(4) if all(value >= 0.95 for value in alike[k:])
    )
    assert 0 < numbers["settled_at"] < 30


def test_the_query_maps_are_rows_of_the_maps(run):
    ((_, stack),) = evolution(run).query_maps((2, 1))
    assert stack.shape == (4, *GRID)
    assert_close(stack[2].ravel(), cosines(run[2])[2 * 4 + 1])


def test_without_epochs_snapshots_are_counted_and_it_says_so(run):
    result = evolution(run)
    assert result.epochs == (0, 1, 2, 3)
    assert "no epochs were given: snapshots are counted from 0" in result.notes
    assert repr(result) == "EvolutionResult(4 snapshots, epochs 0 to 3, learned_absolute)"


def test_the_frame_has_a_row_a_snapshot_and_layer_and_the_file_every_curve(run):
    result = evolution(run, epochs=[1, 2, 3, 5])
    frame = result.to_frame()
    assert frame["epoch"].tolist() == [1, 2, 3, 5]
    assert frame["layer"].unique().tolist() == ["input"]
    file = io.BytesIO()
    result.save_npz(file)
    saved = np.load(io.BytesIO(file.getvalue()))
    assert saved["epochs"].tolist() == [1, 2, 3, 5]
    assert saved["neighbours"].shape == (4, 1)
    assert saved["norm"].shape == (4,)
    assert saved["query_maps/input"].shape == (4, *GRID)


def test_biases_share_one_scale_and_are_not_called_cosines():
    draw = np.random.default_rng(1)
    biases = [draw.normal(0, size, (2, 12, 12)) for size in (0.1, 3.0)]
    run = [
        PositionEmbedding(
            "relative_bias", "bias", "layer",
            (LayerPE("blocks.0", values.astype(np.float32), GRID),),
        )
        for values in biases
    ]  # fmt: skip
    result = evolution(run)
    assert result.affinity.name == "attention bias"
    mean = [values.mean(axis=0) for values in biases]
    assert result.scale == pytest.approx((0.0, np.abs(mean[1]).max()), rel=1e-5)
    expected = [np.sqrt(np.square(values).mean()) for values in biases]
    assert result.curve("norm") == pytest.approx(expected, rel=1e-5)


def test_values_that_are_not_finite_leave_holes_and_not_a_run_of_nan(run):
    values = run[1].tables[0].values.copy()
    values[5] = np.nan
    result = evolution([run[0], table(values), run[3]])
    assert np.isfinite(result.curve("norm")).all()
    assert np.isfinite(result.curve("structure_to_last")).all()
    assert result.summary()["num_snapshots"] == 3


@pytest.mark.parametrize(
    ("history", "epochs", "message"),
    [
        (lambda run: [], None, "evolution was given 0 snapshots; a history needs at least two."),
        (lambda run: run[:1], None, "evolution was given 1 snapshot; a history needs at least"),
        (lambda run: run, [1, 2], "evolution was given 2 epochs for 4 snapshots; give one for"),
        (
            lambda run: [run[0], table(np.ones((13, 8)), source="b.pth")],
            None,
            "epoch.pth is learned_absolute · 3×4 + 1 prefix · D=6 · 1 layer · join=input, but "
            "b.pth is learned_absolute · 3×4 + 1 prefix · D=8 · 1 layer · join=input. "
            "Snapshots of one run have one form: give a folder of one run only.",
        ),
        (
            lambda run: [PositionEmbedding("none", "function", "none", ())] * 2,
            None,
            "the first snapshot has no position table to follow.",
        ),
    ],
)
def test_what_is_no_history_is_refused_in_words(history, epochs, message, run):
    with pytest.raises(UsageError, match=re.escape(message)):
        evolution(history(run), epochs=epochs)


def test_layers_heads_and_patches_are_checked_as_in_similarity(run):
    with pytest.raises(UsageError, match=re.escape("--token 3,0 is outside the 3×4 grid")):
        evolution(run, token=(3, 0))
    with pytest.raises(UsageError, match=r"--layer 2 is outside 0–0"):
        evolution(run, layer=2)


def test_structure_appears_where_a_layers_number_is_past_half_of_its_way():
    values = np.array([[0.0, 0.0, 0.5], [0.2, 0.4, 0.5], [0.5, 0.1, 0.5], [0.6, 0.6, 0.55]])
    np.testing.assert_array_equal(appears_at(values, (0, 1, 5, 9)), [5, 9, np.nan])


def test_indices_are_those_of_structure_in_every_snapshot(vectors):
    run = [vectors(depth=3, seed=k) for k in range(3)]
    found = evolution(run, layer=[0, 2])
    for pe, ranks, level in zip(run, found.by_layer("effective_rank"), found.curve("hierarchy")):
        expected = structure(pe)
        rows = {row["layer"]: row["effective_rank"] for row in expected.rows()}
        assert ranks.tolist() == [rows["blocks.0"], rows["blocks.2"]]
        assert level == expected.hierarchy
    frame = found.to_frame()
    assert len(frame) == 6
    np.testing.assert_array_equal(frame.appears_at[:2], found.appears_at)
