"""Whether a recipe fits its data, and what the message tells people to pass."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pe_inspect.data import Dataset, Split, load
from pe_inspect.errors import UsageError
from pe_inspect.training import Recipe, train
from pe_inspect.training.fit import check_fits
from pe_inspect.training.loop import Loop


def pets(height: int, width: int, channels: int = 3, classes: int = 2) -> Dataset:
    split = Split(np.zeros((1, channels, height, width), np.uint8), np.zeros(1, np.int64))
    return Dataset("imagefolder:pets", "pets", split, split, tuple("abc"[:classes]))


def test_a_recipe_that_fits_does_not_raise(tiny: Recipe) -> None:
    check_fits(tiny, pets(6, 8))


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (
            pets(12, 8, classes=3),
            "The recipe's model has img_size 6x8, num_classes 2; pets has 12x8, num_classes 3. "
            "Pass --set img_size=12x8 --set num_classes=3.",
        ),
        (pets(12, 8), "Pass --set img_size=12x8 (or --set stream=on, which crops and resizes)."),
        (pets(6, 8, channels=1), "pets has in_chans 1. Pass --set in_chans=1."),
        (
            pets(9, 8),
            "Images of 9×8 pixels are no whole number of patches of 2×2. "
            "Pass --set img_size=9x8 --set patch_size=1x2 (or",
        ),
        (
            pets(1, 8),
            "Images of 1×8 pixels are smaller than a patch of 2×2. "
            "Pass --set img_size=1x8 --set patch_size=1x2 (or",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_the_flags_that_mend_it(
    tiny: Recipe, dataset: Dataset, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_fits(tiny, dataset)
    assert said.replace("pets has 12x8", "pets has img_size 12x8") in str(caught.value)


@pytest.fixture
def broken_test_images(pictures: Path, tmp_path: Path) -> Path:
    """The halves, of which no test image can be read."""
    shutil.copytree(pictures, tmp_path / "data")
    for file in (tmp_path / "data").glob("halves/test/*/*.png"):
        file.write_bytes(b"no image")
    return tmp_path / "data"


@pytest.mark.parametrize("stream", ["on", "off"])
def test_test_images_of_which_none_can_be_read_stop_a_run_before_its_first_step(
    tiny: Recipe,
    broken_test_images: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stream: str,
) -> None:
    recipe = tiny.with_overrides(["shift=0", f"stream={stream}"])
    monkeypatch.delattr(Loop, "step")
    said = r"None of the 8 test images of halves can be read, e\.g\. .*png\. Replace them\."
    with pytest.raises(UsageError, match=f"{said}|holds no image that can be read"):
        train(recipe, out=tmp_path / "run", root=broken_test_images, device="cpu")


def test_test_images_that_are_gone_stop_the_evaluation(
    tiny: Recipe, broken_test_images: Path
) -> None:
    dataset = load("imagefolder:halves", root=broken_test_images, img_size=(6, 8), stream="on")
    loop = Loop(tiny.with_overrides(["shift=0", "stream=on"]), dataset, torch.device("cpu"))
    with pytest.raises(UsageError, match="No test image of imagefolder:halves can be read any"):
        loop.evaluate(loop.product.state_dict())
