"""Every plain method against the library that defines it, and what all of them have in common."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from resampling.torch_calls import FACTORS, TORCH, by_torch, plain
from scipy import ndimage, signal

from pe_inspect.errors import UsageError
from pe_inspect.resampling.matrices import taps_matrix, triangle, windowed_matrix
from pe_inspect.resampling.methods import methods
from pe_inspect.resampling.methods.scale_factor import cells_made, sizes_that_fail
from pe_inspect.resampling.methods.signal import series
from pe_inspect.resampling.patch_kernel import pi_resize
from pe_inspect.resampling.spline import through_knots

SEPARABLE = [*TORCH, *FACTORS, "lanczos", "spline", "fourier", "zoom"]
SOURCES = [(3, 5), (14, 14), (1, 7), (16, 9), (1, 1)]
TARGETS = [(5, 3), (24, 31), (2, 2), (9, 14), (28, 28), (3, 5), (37, 21)]
sides = st.integers(1, 9)


def table(grid_size, channels=4, seed=0, std=0.05, dtype=np.float32):
    """A table with the scale of trained ones: entries of about ±0.02 … ±0.1."""
    values = np.random.default_rng(seed).standard_normal((*grid_size, channels)) * std
    return values.astype(dtype)


def places(source):
    """Roundings of a resampling: torch's places are float32, which rounds them at their size."""
    return max(8, *source)


def each_channel(values, resize):
    return np.stack([resize(values[..., c]) for c in range(values.shape[-1])], axis=-1)


def by_pillow(values, target):
    def resize(channel):
        image = Image.fromarray(channel)
        return np.asarray(image.resize(target[::-1], Image.Resampling.LANCZOS))

    return each_channel(values, resize)


def by_scipy(values, target):
    factors = [m / n for m, n in zip(target, values.shape)]
    return each_channel(
        values.astype(np.float64),
        lambda channel: ndimage.zoom(channel, factors, order=3, mode="reflect", grid_mode=True),
    )


def by_series(values, target):
    """Each axis: the coefficients of its Fourier series, summed at the centres of the cells."""
    for axis, m in enumerate(target):
        n = values.shape[axis]
        if n == m:
            continue
        waves = np.fft.fft(np.moveaxis(values, axis, 0), axis=0) / n
        centres = (np.arange(m) + 0.5) * n / m - 0.5
        made = sum(
            np.exp(2j * np.pi * k * centres / n)[:, None, None] * waves[k]
            for k in range(-(min(n, m) // 2), min(n, m) // 2 + 1)
            if 2 * abs(k) < n
        )
        if n % 2 == 0 and m > n:
            made = made + np.cos(np.pi * centres)[:, None, None] * waves[n // 2]
        values = np.moveaxis(made.real, 0, axis)
    return values


# --- equal to the library that defines it


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_torch_modes_equal_torch_on_non_square_grids(name, source, target):
    values = table(source)

    expected = by_torch(values, size=target, **TORCH[name])

    assert_close(plain(name)(values, target), expected, at=values, operations=places(source))


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize(("source", "target"), [((37, 23), (16, 31)), ((7, 14), (61, 115))])
def test_torch_modes_equal_torch_in_float64_at_unit_variance(name, source, target):
    values = table(source, std=1.0, dtype=np.float64)

    expected = by_torch(values, size=target, **TORCH[name])

    np.testing.assert_allclose(plain(name)(values, target), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize(("source", "target"), [((37, 37), (16, 31)), ((14, 9), (24, 17))])
def test_scale_factors_equal_torch(name, source, target):
    added, call = FACTORS[name]
    factor = tuple((m + added) / n for m, n in zip(target, source))

    values, precise = table(source), table(source, std=1.0, dtype=np.float64)
    found, expected = (plain(name)(values, target), by_torch(values, scale_factor=factor, **call))
    assert_close(found, expected, at=values, operations=places(source))
    found, expected = (plain(name)(precise, target), by_torch(precise, scale_factor=factor, **call))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_signal_methods_equal_pillow_scipy_and_the_series(source, target):
    values = table(source)
    oracles = {"lanczos": by_pillow, "spline": by_scipy, "fourier": by_series}
    if any(1 < side < 7 for side in source):  # SciPy's prefilter is off by 1e-4 on short lines
        del oracles["spline"]

    for name, oracle in oracles.items():
        found = plain(name)(values, target)
        assert_close(
            found, oracle(values, target), at=values, operations=places(source), message=name
        )


@pytest.mark.parametrize("source", [(2, 3), (3, 5), (6, 4)])
def test_the_spline_goes_through_every_cell(source):
    values = table(source)

    found = plain("spline")(values, (3 * source[0], 3 * source[1]))

    assert_close(found[1::3, 1::3], values)


@pytest.mark.parametrize(("source", "target"), [(7, 12), (8, 13), (9, 4), (8, 6), (7, 6)])
def test_the_series_read_at_the_cells_of_scipy_is_scipys(source, target):
    values = np.random.default_rng(0).standard_normal((source, 3))
    places = np.arange(target) * source / target

    found = series(places, source, target) @ values

    np.testing.assert_allclose(found, signal.resample(values, target), rtol=0, atol=1e-12)


@pytest.mark.sweep
@pytest.mark.parametrize("name", TORCH)
def test_torch_modes_equal_torch_for_all_sides(name):
    resample, call = plain(name), TORCH[name]
    for source in range(1, 41):
        values = table((source, 3), channels=2, seed=source)
        for target in range(1, 81):
            expected = by_torch(values, size=(target, 2), **call)
            found = resample(values, (target, 2))
            assert_close(
                found, expected, at=values, operations=places((source,)), message=f"→ {target}"
            )


# --- the sizes that a scale factor misses


@pytest.mark.parametrize(
    ("source", "missed"),
    [(14, (61, 115, 122)), (16, ()), (37, (39, 43, 78, 86, 115, 123, 156, 172, 193))],
)
def test_a_scale_factor_without_offset_misses_the_known_sizes(source, missed):
    assert sizes_that_fail(source) == missed
    for target in range(1, 200):
        made = F.interpolate(torch.zeros(1, 1, source), scale_factor=target / source).shape[-1]
        assert made == cells_made(source, target)


def test_the_offset_of_dino_misses_none():
    for source in (14, 16, 37):
        assert all(cells_made(source, target, 0.1) == target for target in range(1, 400))


def test_a_size_that_a_scale_factor_misses_is_refused_with_two_ways_out():
    with pytest.raises(UsageError) as caught:
        plain("scale-factor").check(table((14, 14)), (61, 24))

    assert str(caught.value).startswith(
        "--method scale-factor: scale_factor=61/14 makes 60 rows of 14, not 61. Use --method dinov2"
    )
    plain("scale-factor").check(table((14, 14)), (60, 24))


# --- patch kernels


@pytest.mark.parametrize("target", [(8, 12), (24, 20), (16, 9), (16, 16)])
@pytest.mark.parametrize(
    ("name", "mode", "antialias"),
    [("bicubic-aa", "bicubic", True), ("bilinear", "bilinear", False)],
)
def test_pi_resize_equals_timm(target, name, mode, antialias):
    from timm.layers import resample_patch_embed

    kernel = torch.tensor(np.random.default_rng(0).standard_normal((5, 3, 16, 16)) * 0.02).float()

    expected = resample_patch_embed(kernel, list(target), mode, antialias)

    found = pi_resize(kernel.numpy(), target, plain(name))
    assert_close(found, expected.numpy())
    assert found.dtype == np.float32


def test_a_larger_kernel_answers_a_resized_patch_as_the_old_one_did_the_patch():
    rng = np.random.default_rng(0)
    kernel, patch = (rng.standard_normal((1, 1, 8, 6)) for _ in range(2))

    resized = plain("bilinear")(patch[0, 0, ..., None], (16, 15))[..., 0]

    found = (pi_resize(kernel, (16, 15), plain("bilinear"))[0, 0] * resized).sum()
    assert found == pytest.approx((kernel * patch).sum(), abs=1e-9)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3, 16, 16), (4, 3, 2, 0)])
def test_a_kernel_of_another_shape_is_refused(shape):
    with pytest.raises(UsageError, match=r"A patch kernel is \(embed_dim, channels, height, width"):
        pi_resize(np.zeros(shape), (8, 8), plain("bicubic-aa"))


def test_a_kernel_for_half_a_pixel_is_refused():
    with pytest.raises(UsageError, match="A patch of 0×8 pixels"):
        pi_resize(np.zeros((2, 3, 4, 4)), (0, 8), plain("bicubic-aa"))


def test_not_every_method_resizes_kernels():
    with pytest.raises(UsageError, match="sequence-bicubic is not separable"):
        pi_resize(np.zeros((2, 3, 4, 4)), (8, 8), plain("mae-decoder"))


# --- what all of them have in common


@pytest.mark.parametrize("name", SEPARABLE)
@settings(max_examples=20)
@given(rows=sides, columns=sides)
def test_resampling_to_the_same_grid_is_the_identity(name, rows, columns):
    values = table((rows, columns))

    np.testing.assert_array_equal(plain(name)(values, (rows, columns)), values)


@pytest.mark.parametrize("name", SEPARABLE)
@settings(max_examples=20)
@given(source=st.tuples(sides, sides), target=st.tuples(sides, sides))
def test_a_constant_table_stays_constant(name, source, target):
    found = plain(name)(np.full((*source, 2), 0.3), target)

    np.testing.assert_allclose(found, 0.3, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SEPARABLE)
@settings(max_examples=20)
@given(source=st.tuples(sides, sides), target=st.tuples(sides, sides))
def test_transposing_commutes_with_resampling(name, source, target):
    # PyTorch 2.15's antialiased kernel does not: it repeats one value down a target of width 1.
    values = table(source, dtype=np.float64)

    turned = plain(name)(values.swapaxes(0, 1), target[::-1]).swapaxes(0, 1)

    np.testing.assert_allclose(plain(name)(values, target), turned, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    ["bicubic", "bicubic-aa", "bilinear", "bilinear-aa", "area", "lanczos", "spline", "fourier"],
)
@settings(max_examples=20)
@given(source=st.tuples(sides, sides), target=st.tuples(sides, sides))
def test_mirroring_commutes_with_resampling(name, source, target):
    values = table(source, dtype=np.float64)

    turned = plain(name)(values[::-1, ::-1], target)[::-1, ::-1]

    np.testing.assert_allclose(plain(name)(values, target), turned, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SEPARABLE)
def test_the_two_matrices_make_the_table(name):
    values = table((5, 7), dtype=np.float64)
    rows, columns = plain(name).matrices((5, 7), (9, 4))

    assert (rows.shape, columns.shape) == ((9, 5), (4, 7))
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
    expected = np.einsum("ri,cj,ijd->rcd", rows, columns, values)
    np.testing.assert_allclose(plain(name)(values, (9, 4)), expected, rtol=0, atol=1e-12)


def test_what_is_not_separable_has_no_matrices():
    assert plain("mae-decoder").matrices((5, 5), (9, 9)) is None


@settings(max_examples=40)
@given(source=st.integers(1, 40), target=st.integers(1, 40))
def test_rows_of_kernel_matrices_sum_to_one(source, target):
    places = (np.arange(target) + 0.5) * source / target - 0.5
    for matrix in (
        taps_matrix(triangle, 1, places, source),
        windowed_matrix(triangle, 1, places, source, source / target),
    ):
        assert matrix.shape == (target, source)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["bicubic", "bicubic-aa", "bilinear", "area", "nearest"])
def test_a_missing_value_touches_only_what_draws_on_it(name):
    values = table((5, 7))
    values[0, 0, 1] = np.inf

    found = plain(name)(values, (10, 14))

    assert np.isnan(found[0, 0, 1])
    assert np.isfinite(found[..., 0]).all()
    assert np.isfinite(found[6:, 8:, 1]).all()


def test_a_missing_value_of_a_sequence_touches_only_what_draws_on_it():
    values = table((3, 4))
    values[1, 1, 0] = np.nan

    found = plain("mae-decoder")(values, (6, 8))

    assert np.isnan(found[..., 0]).any()
    assert np.isfinite(found[:1, :, 0]).all()
    assert np.isfinite(found[..., 1:]).all()


@settings(max_examples=20)
@given(st.lists(st.floats(0.3, 3), min_size=3, max_size=12))
def test_the_spline_through_knots_is_scipys(steps):
    from scipy.interpolate import make_interp_spline

    knots = np.cumsum([0.0, *steps])
    wanted = np.linspace(knots[0], knots[-1], 17)

    expected = make_interp_spline(knots, np.eye(len(knots)), k=3)(wanted)

    np.testing.assert_allclose(through_knots(knots, wanted), expected, rtol=0, atol=1e-9)


def test_every_method_says_what_it_does_where_it_is_defined_and_for_which_kinds():
    assert {
        "native", "bicubic", "bicubic-aa", "bilinear", "bilinear-aa", "align-corners", "area",
        "nearest", "lanczos", "spline", "fourier", "timm", "jax", "deit", "dino", "dinov2",
        "dinov2-reg", "hf", "hf-old", "mae", "clip", "open_clip", "siglip2", "torchvision",
        "bigvision", "swin", "beit", "levit", "sam", "flexivit", "qwen", "extrapolate", "rescale",
        "normalised", "ntk", "yarn", "eva02", "rope-vit", "dinov3",
    } <= set(methods)  # fmt: skip
    for name, method in methods.items():
        assert method.name == name
        assert str(method).startswith(f"{method.call} · {method.source} · for ")


@pytest.mark.subprocess
def test_no_method_needs_torch_or_scipy():
    import subprocess
    import sys

    code = (
        "import sys; from pe_inspect.analysis.interpolate import METHODS;"
        "print(sorted({'torch', 'scipy', 'timm', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert io.StringIO(done.stdout).read().strip() == "[]"
