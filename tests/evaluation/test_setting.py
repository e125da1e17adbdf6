"""Which images a checkpoint meets: as it was trained, its own classes, and what a crop acts on."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from closeness import ROUNDING
from PIL import Image

import pe_inspect as pei
from pe_inspect.data.dataset import FileSplit
from pe_inspect.errors import UsageError
from pe_inspect.evaluation import run
from pe_inspect.loading.checkpoint import Checkpoint, Hints

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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("digitz", "Unknown dataset 'digitz'. Did you mean 'digits'"),
        ("{root}", "Unknown dataset '{root}'. It is a folder: pass imagefolder:{root}."),
        ("imagefolder:{root}/nowhere", "{root}/nowhere is no folder. Give the one that holds"),
        (None, "does not say which images it is for. Pass --data NAME"),
    ],
)
def test_what_is_no_dataset_is_said_before_the_model_is_loaded(
    lively, as_checkpoint, tmp_path, monkeypatch, data, message
):
    monkeypatch.setattr(run, "rebuild", None)
    named = data and data.format(root=tmp_path)
    with pytest.raises(UsageError, match=re.escape(message.format(root=tmp_path))):
        pei.evaluate(as_checkpoint(lively("learned")), named)


def test_a_model_without_a_classifier_is_refused_before_it_is_loaded(noise, monkeypatch):
    import timm

    monkeypatch.setattr(run, "rebuild", None)
    features = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    named = Hints(arch="timm:vit_tiny_patch16_224")
    of_timm = Checkpoint.from_state_dict(features.state_dict(), source="a.pth", hints=named)
    of_transformers = replace(
        of_timm, hints=Hints(),
        metadata={"config": {"model_type": "vit", "architectures": ["ViTModel"]}},
    )  # fmt: skip
    for checkpoint in (of_timm, of_transformers):
        with pytest.raises(UsageError, match=r"a\.pth holds a model without a classifier"):
            pei.evaluate(checkpoint, noise())


def test_a_folder_val_is_called_val(lively, as_checkpoint, folder, tmp_path):
    (tmp_path / "val").symlink_to(folder / "test")
    (tmp_path / "train").symlink_to(folder / "train")
    checkpoint = as_checkpoint(lively("learned"), mean=[0.4] * 3, std=[0.3] * 3)
    found = pei.evaluate(checkpoint, f"imagefolder:{tmp_path}", limit=5)
    assert found.split == found.parameters["split"] == "val"
    assert f"on 5 val images of {tmp_path.name}" in found.finding
    assert "5 of 14 val images were drawn (--limit)" in found.notes
    assert any(note.startswith("images: the val split") for note in found.notes)
