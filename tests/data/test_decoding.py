"""From files of more than 8 bits to pixels of 8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pe_inspect.data import load
from pe_inspect.data.decoding import UnreadableImage, decoded

RAMP = np.linspace(0, 255, 15).round().astype(np.uint8).reshape(3, 5)


def written(file: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(file)
    return file


def levels(file: Path) -> np.ndarray:
    """The grey levels of a file, once all three channels are seen to hold them."""
    red, green, blue = np.asarray(decoded(file)).transpose(2, 0, 1)
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
    return red


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
@pytest.mark.parametrize("jitter", [-100, 0, 100])
def test_sixteen_bits_become_the_nearest_eight(tmp_path: Path, name: str, jitter: int) -> None:
    values = (RAMP.astype(int) * 257 + jitter).clip(0, 65535).astype(np.uint16)
    np.testing.assert_array_equal(levels(written(tmp_path / name, values)), RAMP)


def test_sixteen_bits_of_the_other_byte_order_do_too(tmp_path: Path) -> None:
    file = tmp_path / "grey.tif"
    Image.frombytes("I;16B", (5, 3), (RAMP.astype(">u2") * 257).tobytes()).save(file)
    np.testing.assert_array_equal(levels(file), RAMP)


def test_sixteen_bits_that_pillow_widens_do_too(tmp_path: Path) -> None:
    file = tmp_path / "grey.ppm"
    file.write_bytes(b"P5 5 3 65535 " + (RAMP.astype(">u2") * 257).tobytes())
    with Image.open(file) as image:
        assert image.mode == "I"
    np.testing.assert_array_equal(levels(file), RAMP)


def test_floats_from_nought_to_one_are_shares_of_the_brightest(tmp_path: Path) -> None:
    file = written(tmp_path / "grey.tif", (RAMP / 255).astype(np.float32))
    np.testing.assert_array_equal(levels(file), RAMP)


def test_eight_bits_stay(tmp_path: Path) -> None:
    np.testing.assert_array_equal(levels(written(tmp_path / "grey.png", RAMP)), RAMP)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (RAMP.astype(np.float32), "its values are 0 to 255; 0 to 1 were expected"),
        ((RAMP / 255 - 1).astype(np.float32), "its values are -1 to 0; 0 to 1 were expected"),
        (np.full((3, 5), np.nan, np.float32), "its values are nan to nan; 0 to 1 were expected"),
        (RAMP.astype(np.int32), "its values are integers of 32 bits or of either sign; 8 or 16"),
    ],
)
def test_numbers_of_no_ordinary_brightness_are_not_guessed(
    tmp_path: Path, values: np.ndarray, reason: str
) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decoded(written(tmp_path / "odd.tif", values))


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_a_part_of_a_file_of_sixteen_bits_is_unreadable(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (30, 50), dtype=np.uint16)
    file = written(tmp_path / name, noise)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UnreadableImage):
        decoded(file)


def test_a_dataset_names_them_and_leaves_them_out(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            written(tmp_path / split / name / "0.png", RAMP)
    odd = written(tmp_path / "train" / "cat" / "1.tif", RAMP.astype(np.float32))
    pets = load(f"imagefolder:{tmp_path}")
    assert len(pets.train) == 2
    assert f"{odd} (its values are 0 to 255; 0 to 1 were expected)" in pets.notes[0]
