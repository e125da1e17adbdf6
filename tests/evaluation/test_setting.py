"""Which images a checkpoint meets: as it was trained, its own classes, and what a crop acts on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from closeness import ROUNDING
from PIL import Image

import pe_inspect as pei
from pe_inspect.data.dataset import FileSplit
from pe_inspect.errors import UsageError

CLASSES = [f"class {k}" for k in range(7)]
CROPPED = "read from their files, and the middle resized to each size: {} of the side"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An ImageFolder of seven classes, two images of 24×40 pixels each."""
    root, random = tmp_path_factory.mktemp("set"), np.random.default_rng(0)
    for split in ("train", "test"):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for k in range(2):
                pixels = random.integers(0, 256, (24, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{k}.png")
    return root


@pytest.fixture
def trained(lively, as_checkpoint, folder):
    """A function from a recipe's settings, and facts of its data, to a checkpoint."""

    def make(data=None, **recipe):
        facts = {"name": f"imagefolder:{folder}", "mean": [0.4] * 3, "std": [0.3] * 3}
        plain = as_checkpoint(lively("learned"), **(facts | (data or {})))
        config = {**plain.metadata["config"], "recipe": recipe}
        return replace(plain, metadata={**plain.metadata, "config": config})

    return make


def loss_of_crop(checkpoint, folder, share):
    """Of all test files, cut and resized by hand."""
    files = sorted((folder / "test").rglob("*.png"))
    labels = np.repeat(np.arange(7), 2)
    dataset = pei.data.load(f"imagefolder:{folder}")
    split = replace(dataset.test, images=FileSplit(files, labels, (12, 20), share).images)
    return pei.evaluate(checkpoint, replace(dataset, test=split)).plain.loss


def test_images_are_read_as_the_recipe_read_them(trained, folder):
    checkpoint = trained(stream="on", crop_pct=0.6)
    found = pei.evaluate(checkpoint)
    assert found.parameters["crop_pct"] == 0.6
    assert found.plain.loss == pytest.approx(loss_of_crop(checkpoint, folder, 0.6), rel=ROUNDING)
    assert any(CROPPED.format("60.0%") in note for note in found.notes)


@pytest.mark.parametrize("stream", ["on", "auto", "off"])
def test_a_share_that_is_asked_for_acts_whatever_the_recipe(trained, folder, stream):
    checkpoint = trained(stream=stream, crop_pct=0.6)
    found = pei.evaluate(checkpoint, crop_pct=0.3)
    assert found.parameters["crop_pct"] == 0.3
    assert found.plain.loss == pytest.approx(loss_of_crop(checkpoint, folder, 0.3), rel=ROUNDING)


def test_images_that_are_held_are_not_cropped(trained, noise):
    held = pei.evaluate(trained(stream="auto", crop_pct=0.6))
    assert held.parameters["crop_pct"] == 1.0
    with pytest.raises(UsageError, match=r"--crop-pct 0\.3 is for images that are read from files"):
        pei.evaluate(trained(), noise(), crop_pct=0.3)
    assert pei.evaluate(trained(), noise(), crop_pct=1.0).parameters["crop_pct"] == 1.0


def test_classes_of_other_names_are_compared_by_number_and_noted(trained, noise):
    note = "classes of noise have other names than in training, and were compared by their number: "
    other = trained({"classes": [*CLASSES[:5], "ant", "bee"]})
    assert f"{note}ant is class 5, bee is class 6" in pei.evaluate(other, noise()).notes
    all_others = trained({"classes": list("abcdefg")})
    named = f"{note}a is class 0, b is class 1, c is class 2, and 4 more"
    assert named in pei.evaluate(all_others, noise()).notes
    own = pei.evaluate(trained({"classes": CLASSES}), noise())
    assert not any("other names" in each for each in own.notes)


@pytest.mark.parametrize("classes", [CLASSES[::-1], ["ant", *CLASSES[:6]]])
def test_a_class_at_another_place_is_refused(trained, noise, classes):
    with pytest.raises(UsageError) as caught:
        pei.evaluate(trained({"classes": classes}), noise())
    place = classes.index("class 0")
    assert str(caught.value) == (
        f"model.safetensors has 'class 0' as class {place}, and noise as class 0: the labels would "
        "be wrong. Pass --data with a dataset of the model's own classes."
    )
