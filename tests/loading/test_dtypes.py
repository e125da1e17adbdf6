"""Every bit pattern of every narrow type is widened as torch widens it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.dtypes import decode, is_known, itemsize

FLOAT8 = [
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_all_65536_half_patterns_are_widened_exactly(name):
    bits = np.arange(65536, dtype=np.uint16)
    expected = torch.from_numpy(bits.view(np.int16)).view(getattr(torch, name)).float().numpy()
    values = decode(bits.tobytes(), name)
    assert values.dtype == np.float32
    assert np.array_equal(values, expected, equal_nan=True)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(values[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("name", FLOAT8)
def test_all_256_float8_patterns_are_widened_exactly(name):
    bits = np.arange(256, dtype=np.uint8)
    expected = torch.from_numpy(bits).view(getattr(torch, name)).float().numpy()
    values = decode(bits.tobytes(), name)
    assert values.dtype == np.float32
    assert np.array_equal(values, expected, equal_nan=True)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(values[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("name", ["int16", "float32", "float64", "complex64", "bfloat16"])
def test_big_endian_numbers_come_in_native_order(name):
    bits = np.arange(48, dtype=np.uint8)
    swapped = bits.reshape(-1, 4 if name == "complex64" else itemsize(name))[:, ::-1]
    little, big = decode(bits.tobytes(), name), decode(swapped.tobytes(), name, big_endian=True)
    assert big.dtype.isnative
    assert np.array_equal(little, big, equal_nan=True)


def test_a_type_that_nobody_knows_is_named():
    assert not is_known("float4_e2m1fn_x2")
    with pytest.raises(UnreadableCheckpoint, match="float4_e2m1fn_x2 cannot be read"):
        decode(b"", "float4_e2m1fn_x2")
