"""Measures told by inner products are those of the tables themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from closeness import ROUNDING, assert_close

from pe_inspect.analysis.interpolate import interpolate, two_grids
from pe_inspect.analysis.interpolate.by_products import ByProducts
from pe_inspect.analysis.interpolate.measures import measured
from pe_inspect.analysis.interpolate.resampled import ResampledTable
from pe_inspect.analysis.interpolate.two_grids import ByTables, SourceTable
from pe_inspect.kinds.all_kinds import VECTORS
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.resampling.methods import methods

SEPARABLE = [
    "bicubic", "bicubic-aa", "bilinear", "align-corners", "area", "nearest", "lanczos", "spline",
    "fourier", "dinov2", "dinov2-aa", "naflex-ar",
]  # fmt: skip


def smooth_table(noise: float = 0.01, shape: tuple[int, int] = (5, 7)) -> np.ndarray:
    rng = np.random.default_rng(3)
    y, x = np.indices(shape)[..., None] / 7
    waves = rng.standard_normal((2, 24)) * 4
    table = np.cos(y * waves[0] + x * waves[1]) + noise * rng.standard_normal((*shape, 24))
    return table.astype(np.float32)


def embedding(values: np.ndarray) -> PositionEmbedding:
    layer = LayerPE("input", values.reshape(-1, values.shape[-1]), values.shape[:2])
    return PositionEmbedding("learned_absolute", "vectors", "input", (layer,))


def resampled(source: SourceTable, size: tuple[int, int], method: str) -> ResampledTable:
    pe = embedding(source.values)
    native = ResampledTable(source, size, methods["timm"].choose(pe))
    return ResampledTable(source, size, methods[method].choose(pe), native)


@pytest.mark.parametrize("size", [(9, 11), (3, 4), (5, 9), (10, 14)])
@pytest.mark.parametrize("method", SEPARABLE)
@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_products_of_rows_tell_what_the_tables_show(method, size, noise, monkeypatch) -> None:
    told = resampled(SourceTable("input", smooth_table(noise), VECTORS), size, method)
    found = measured(told)
    assert isinstance(told.measured_from, ByProducts)
    monkeypatch.setattr(two_grids, "MAX_POSITIONS", 0)
    read = resampled(SourceTable("input", smooth_table(noise), VECTORS), size, method)
    expected = measured(read)
    assert isinstance(read.measured_from, ByTables)
    assert list(found) == list(expected)
    for name in expected:
        assert found[name] == pytest.approx(expected[name], abs=ROUNDING, rel=2e-5, nan_ok=True), (
            name
        )
    assert_close(told.error_map, read.error_map, at=1.0)  # in units of the mean norm
    assert_close(told.norms_after, read.norms_after)


def test_a_way_back_that_does_not_exist_is_undefined_in_both_readings(monkeypatch) -> None:
    source = SourceTable("input", smooth_table(shape=(14, 15)), VECTORS)
    told = resampled(source, (13, 13), "scale-factor")
    size = next(s for s in range(15, 200) if _refuses(told, s))
    for limit in (2048, 0):
        monkeypatch.setattr(two_grids, "MAX_POSITIONS", limit)
        table = resampled(SourceTable("input", source.values, VECTORS), (size, 15), "scale-factor")
        assert np.isnan(table.measures["round_trip_error"])
        assert np.isnan(table.measures["round_trip_correlation"])


def _refuses(table: ResampledTable, rows: int) -> bool:
    return not replace(table, size=(rows, 15))._leads_back()


def test_methods_whose_matrices_are_equal_share_one_table() -> None:
    result = interpolate(embedding(smooth_table()), grid=(10, 14), method="all")
    area, nearest = (result.tables(name)[0] for name in ("area", "nearest-exact"))
    assert area.after is nearest.after
    assert result.rules["area"] != result.rules["nearest-exact"]


def test_equal_ways_there_do_not_mean_equal_ways_back() -> None:
    result = interpolate(embedding(smooth_table(noise=0.3)), grid=(10, 14), method="all")
    there = [result.tables(name)[0] for name in ("bilinear", "bilinear-aa")]
    assert there[0].after is there[1].after
    errors = [table.measures["round_trip_error"] for table in there]
    assert abs(errors[0] - errors[1]) > 1e-4


@pytest.mark.parametrize("scale", [1e-25, 1e19, 0.0])
def test_lengths_beyond_what_float32_can_square_are_measured_all_the_same(scale) -> None:
    table = smooth_table()
    plain = interpolate(embedding(table), grid=(9, 11), method="bicubic").summary()
    scaled = interpolate(embedding(table * np.float32(scale)), grid=(9, 11), method="bicubic")
    if scale == 0:
        assert np.isnan(scaled.summary()["norm_ratio"])
        return
    for name in ("norm_ratio", "structure_correlation", "round_trip_error"):
        assert scaled.summary()[name] == pytest.approx(plain[name], rel=1e-4)
