"""Every number of `interpolate`, against its definition in plain NumPy and PyTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis.made import dinov2, strong
from closeness import ROUNDING, assert_close

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.interpolate.measures import DEFINITIONS
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding


def vectors(grid_size):
    values = np.random.default_rng(3).standard_normal((1 + grid_size[0] * grid_size[1], 6)) + 0.3
    layer = LayerPE("input", values.astype(np.float32), grid_size, 1)
    return PositionEmbedding("learned_absolute", "vectors", "input", (layer,))


def bias(grid_size):
    rows, columns = grid_size
    table = np.random.default_rng(4).standard_normal((2, 2 * rows - 1, 2 * columns - 1))
    y, x = np.divmod(np.arange(rows * columns), columns)
    values = table[:, y[:, None] - y + rows - 1, x[:, None] - x + columns - 1]
    layer = LayerPE("blocks.0", values.astype(np.float32), grid_size)
    return PositionEmbedding("relative_bias", "bias", "layer", (layer,))


def lengths(table):
    return np.sqrt((table**2).sum(axis=-1))


def cosine(a, b):
    return (a * b).sum(axis=-1) / lengths(a) / lengths(b)


def on_border(table):
    places = np.zeros(table.shape[:2], bool)
    places[[0, -1]] = places[:, [0, -1]] = True
    return places


def cosine_map(table):
    """The cosines of all pairs of rows but for the diagonal."""
    rows = (table / lengths(table)[..., None]).reshape(-1, table.shape[-1])
    return (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def covering(before, after):
    """The rows of the target patches in which the centres of the source patches lie."""
    places = [(np.arange(n) + 0.5) * m / n for n, m in zip(before.shape[:2], after.shape[:2])]
    return after[np.ix_(*(np.floor(each).astype(int) for each in places))]


def neighbours(table, coarse):
    """Mean cosine of pairs one patch of the coarser grid apart; between whole lags, linear."""
    found, pairs = [], []
    for axis, step in enumerate(coarse):
        lag, along = table.shape[axis] / step, np.moveaxis(table, axis, 0)
        whole = (int(np.floor(lag)), int(np.ceil(lag)))
        means = [cosine(along[k:], along[: len(along) - k]).mean() for k in whole]
        found.append(np.interp(lag, whole, means) if whole[0] != whole[1] else means[0])
        pairs.append((len(along) - lag) * along.shape[1])
    return np.average(found, weights=pairs)


def high_frequency(table, above):
    power = (np.abs(np.fft.fft2(table, axes=(0, 1))) ** 2).sum(axis=-1)
    y, x = (np.fft.fftfreq(side) * side for side in table.shape[:2])
    cycles = np.hypot(y[:, None], x)
    return power[cycles >= above].sum() / power[cycles > 0].sum()


def by_hand(before, after, back, native):
    old, new, lost = lengths(before), lengths(after), lengths(back - before)
    rings = on_border(before), on_border(after)
    above = min(before.shape[:2]) / 4
    return {
        "norm_before": old.mean(),
        "norm_after": new.mean(),
        "norm_ratio": new.mean() / old.mean(),
        "norm_ratio_border": new[rings[1]].mean() / old.mean(),
        "norm_ratio_interior": new[~rings[1]].mean() / old.mean(),
        "norm_ratio_border_before": old[rings[0]].mean() / old.mean(),
        "norm_ratio_interior_before": old[~rings[0]].mean() / old.mean(),
        "low_norm_share": (new < old.min()).mean(),
        "high_frequency_before": high_frequency(before, above),
        "high_frequency_after": high_frequency(after, above),
        "round_trip_error": lost.mean() / old.mean(),
        "round_trip_cosine": cosine(back, before).mean(),
        "error_border": lost[rings[0]].mean() / old.mean(),
        "error_interior": lost[~rings[0]].mean() / old.mean(),
        "difference_to_native": np.linalg.norm(after - native) / np.linalg.norm(native),
        "num_missing": 0,
    }


def of_vectors(before, after, back):
    coarse = np.minimum(before.shape[:2], after.shape[:2])
    return {
        "neighbour_cosine_before": neighbours(before, coarse),
        "neighbour_cosine_after": neighbours(after, coarse),
        "structure_correlation": correlation(
            cosine_map(before), cosine_map(covering(before, after))
        ),
        "round_trip_correlation": correlation(cosine_map(before), cosine_map(back)),
    }


def of_bias(before, after, back):
    return {
        "structure_correlation": correlation(before, covering(before, after)),
        "round_trip_correlation": correlation(before, back),
    }


@pytest.mark.parametrize(
    ("pe", "grid", "own"),
    [
        (vectors((5, 7)), (8, 4), of_vectors),
        (vectors((6, 4)), (13, 9), of_vectors),
        (strong(), (4, 7), of_vectors),
        (bias((4, 5)), (6, 3), of_bias),
    ],
    ids=["vectors", "more vectors", "one strong channel", "bias"],
)
def test_measures_are_what_their_definitions_say(pe, grid, own):
    result = interpolate(pe, grid=grid, method="all")
    native = result.tables("native")[0].after.astype(np.float64)
    for method in result.methods:
        done = result.tables(method)[0]
        tables = [each.astype(np.float64) for each in (done.before, done.after, done.back)]
        if not np.isfinite(tables[2]).all():  # no way back: undefined, and tested elsewhere
            continue
        expected = {**by_hand(*tables, native), **own(*tables)}
        assert list(done.measures) == [name for name in DEFINITIONS if name in expected]
        for name, value in expected.items():
            assert done.measures[name] == pytest.approx(value, rel=2e-5, abs=ROUNDING), (
                method,
                name,
            )


def resized(table, size):
    """By the rule of transformers for DINOv2, and of timm: bicubic, antialiased or not."""
    channels = torch.tensor(table).permute(2, 0, 1)[None]
    return lambda antialias: (
        torch.nn.functional.interpolate(channels, size, mode="bicubic", antialias=antialias)[0]
        .permute(1, 2, 0)
        .numpy()
        .astype(np.float64)
    )


@pytest.mark.parametrize(
    ("make", "size", "antialias"),
    [
        (lambda: vectors((3, 4)), (7, 6), True),
        (strong, (4, 7), True),
        (dinov2, (16, 24), False),
        (dinov2, (40, 50), False),
    ],
    ids=["oblong", "one strong channel", "DINOv2-S, smaller", "DINOv2-S, larger"],
)
def test_every_number_of_the_summary_follows_from_the_table_alone(make, size, antialias):
    pe = make()
    before = pe.tables[0].patches.reshape(*pe.grid_size, -1)
    after = resized(before, size)(antialias)
    back = resized(after.astype(np.float32), pe.grid_size)(antialias)
    before = before.astype(np.float64)
    expected = {**by_hand(before, after, back, after), **of_vectors(before, after, back)}

    found = interpolate(pe, grid=size).summary()

    assert list(found) == list(DEFINITIONS) == [name for name in DEFINITIONS if name in expected]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-5, abs=ROUNDING), name


@pytest.mark.parametrize("size", [(8, 4), (3, 11)])
def test_the_whole_is_the_mean_of_its_parts_weighted_by_their_numbers(size):
    result = interpolate(several(), grid=size, method="bilinear")
    numbers, tables = result.summary(), result.tables()
    for (whole, border, interior), on in {
        ("norm_ratio", "norm_ratio_border", "norm_ratio_interior"): "after",
        ("round_trip_error", "error_border", "error_interior"): "before",
    }.items():
        outer = sum(int(on_border(getattr(table, on)).sum()) for table in tables)
        inner = sum(getattr(table, on)[..., 0].size for table in tables) - outer
        expected = (outer * numbers[border] + inner * numbers[interior]) / (outer + inner)
        assert numbers[whole] == pytest.approx(expected, rel=ROUNDING)


def several():
    """Two tables of other sizes and other lengths: the stages of a pyramid."""
    layers = tuple(
        LayerPE(f"blocks.{k}", 10.0**k * vectors(grid).tables[0].patches, grid)
        for k, grid in enumerate([(10, 7), (5, 4)])
    )
    return PositionEmbedding("learned_absolute", "vectors", "layer", layers)


def test_several_tables_are_averaged_over_their_rows_each_in_its_own_unit():
    result = interpolate(several(), grid=(8, 11), method="bilinear")
    ratios = [lengths(t.after) / lengths(t.before).mean() for t in result.tables()]
    pooled = np.concatenate([ratio.ravel() for ratio in ratios])
    assert result.summary()["norm_ratio"] == pytest.approx(pooled.mean(), rel=1e-5)
    cosines = [table.measures["structure_correlation"] for table in result.tables()]
    assert result.summary()["structure_correlation"] == pytest.approx(np.mean(cosines))


def test_the_correlation_of_some_queries_is_that_of_all_within_what_the_note_says():
    pe = vectors((40, 60))
    smooth = replace(pe.tables[0], values=np.cumsum(pe.tables[0].values, axis=0))
    result = interpolate(replace(pe, tables=(smooth,)), grid=(23, 31), method="bilinear")
    (note,) = [note for note in result.notes if "of 2,400 patches" in note]
    queries = int(note.split(" are over ")[1].split(" of ")[0].replace(",", ""))
    before, after = (
        t.astype(np.float64) for t in (result.tables()[0].before, result.tables()[0].after)
    )
    exact = correlation(cosine_map(before), cosine_map(covering(before, after)))
    found = result.summary()["structure_correlation"]
    assert queries == 1747
    assert found != exact
    assert abs(found - exact) < (1 - exact**2) / np.sqrt(queries)


@pytest.mark.parametrize(("pe", "grid"), [(vectors((5, 7)), (8, 4)), (bias((4, 5)), (6, 3))])
def test_two_matrices_make_the_table_and_lead_back(pe, grid):
    result = interpolate(pe, grid=grid, method="all")
    for method, pair in result.separable().items():
        done = result.tables(method)[0]
        ways = [(pair, done.before, done.after)]
        home = done.resampler.matrices(done.after.shape[:2], done.before.shape[:2])
        ways += [(home, done.after, done.back)] if np.isfinite(done.back).all() else []
        for (down, across), old, new in ways:
            made = np.einsum("ia,jb,abd->ijd", down, across, old)
            assert_close(made, new, message=method)
