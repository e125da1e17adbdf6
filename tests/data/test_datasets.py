from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pe_inspect.data import Dataset, FileSplit, Split, load
from pe_inspect.data.datasets import datasets, imagefolder
from pe_inspect.errors import UsageError


def save_image(path: Path, colour: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 2 * colour, 0)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                save_image(tmp_path / "pets" / split / name / f"{i}.png", 10 * label + i)
    return tmp_path / "pets"


def message_of(name: str, root: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load(name, root=root)
    return str(caught.value)


def test_every_fifth_digit_is_a_test_image() -> None:
    digits = load("digits")
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.img_size == (8, 8)
    assert digits.in_chans == 1
    first_test_image = digits.test.images[0, 0] / 255 * 16
    np.testing.assert_allclose(first_test_image, load_digits().images[4], atol=0.04)
    assert digits.test.labels[0] == load_digits().target[4]


def test_mean_and_std_are_those_of_the_training_pixels() -> None:
    digits = load("digits")
    pixels = digits.train.images[:, 0] / 255
    assert digits.mean == pytest.approx((pixels.mean(),))
    assert digits.std == pytest.approx((pixels.std(),))


def test_a_folder_of_images_is_read_by_class(folder: Path) -> None:
    pets = load(f"imagefolder:{folder}")
    assert pets.classes == ("cat", "dog")
    assert pets.img_size == (4, 6)
    assert pets.label == "pets"
    assert pets.train.images.shape == (6, 3, 4, 6)
    assert pets.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert pets.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert pets.test.images[:, 1, 3, 5].tolist() == [0, 2, 20, 22]


def test_a_constant_channel_has_std_one(folder: Path) -> None:
    assert load(f"imagefolder:{folder}").std[2] == 1.0


def test_a_folder_may_lie_under_the_root(folder: Path) -> None:
    assert load("imagefolder:pets", root=folder.parent).classes == ("cat", "dog")


def test_a_split_called_val_is_the_test_split(folder: Path) -> None:
    (folder / "test").rename(folder / "val")
    assert len(load(f"imagefolder:{folder}").test) == 4


def test_grey_images_become_rgb(folder: Path) -> None:
    Image.new("L", (6, 4), 77).save(folder / "train" / "cat" / "grey.png")
    assert (load(f"imagefolder:{folder}").train.images[3] == 77).all()


def test_the_cifar_copy_is_an_image_folder(folder: Path) -> None:
    folder.rename(folder.with_name("cifar10-jpeg"))
    copy = load("cifar10-jpeg", root=folder.parent)
    assert (copy.name, copy.label) == ("cifar10-jpeg", "CIFAR-10 (JPEG copy)")


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    message = message_of("cifar10-jpeg", tmp_path)
    assert f"is not in {tmp_path / 'cifar10-jpeg'}. Unpack it there (tar -xJf" in message
    assert "train/<class>/*" in message


def test_a_name_that_is_near_is_offered() -> None:
    assert message_of("digit") == "Unknown dataset 'digit'. Did you mean 'digits'?"


def test_an_image_folder_needs_a_path() -> None:
    assert message_of("imagefolder").startswith("imagefolder needs a folder: imagefolder:path")
    assert "nothing after the colon" in message_of("imagefolder:")


def test_a_dataset_that_takes_no_path_says_so() -> None:
    assert message_of("digits:8") == "digits takes nothing after a colon; 'digits' is all of it."


def test_another_layout_says_which_is_expected(tmp_path: Path) -> None:
    expected = "Expected train/<class>/* and test/<class>/* with one image a file."
    assert (
        message_of("imagefolder:none", tmp_path) == f"{tmp_path / 'none'} is no folder. {expected}"
    )
    (tmp_path / "flat").mkdir()
    assert f"has no folder train. {expected}" in message_of("imagefolder:flat", tmp_path)
    (tmp_path / "flat" / "train").mkdir()
    assert "has no folder test or val" in message_of("imagefolder:flat", tmp_path)
    (tmp_path / "flat" / "test").mkdir()
    assert "train has no class folders" in message_of("imagefolder:flat", tmp_path)


def test_an_empty_class_is_named(folder: Path) -> None:
    (folder / "train" / "eel").mkdir()
    assert f"{folder / 'train' / 'eel'} holds no image (.bmp" in message_of(f"imagefolder:{folder}")


def test_a_test_class_that_was_never_trained_is_named(folder: Path) -> None:
    save_image(folder / "test" / "eel" / "0.png")
    assert "has a class 'eel' that" in message_of(f"imagefolder:{folder}")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(30)])
def test_a_corrupt_image_is_named_left_out_and_counted(folder: Path, content: bytes) -> None:
    broken = folder / "train" / "dog" / "1.png"
    broken.write_bytes(content)
    pets = load(f"imagefolder:{folder}")
    assert pets.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert pets.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 12]
    assert pets.notes[0].startswith(
        f"1 of 6 images of {folder / 'train'} cannot be read and were left out: {broken} ("
    )
    with pytest.raises(UsageError) as caught:
        load(f"imagefolder:{folder}", strict=True)
    assert str(caught.value).startswith(f"{broken} cannot be read as an image (")
    assert str(caught.value).endswith("Replace it or remove it.")


def test_of_many_corrupt_images_three_are_named(folder: Path) -> None:
    for broken in sorted(folder.glob("train/*/*.png"))[:5]:
        broken.write_bytes(b"")
    note = load(f"imagefolder:{folder}").notes[0]
    assert note.startswith("5 of 6 images")
    assert note.count(".png (") == 3
    assert note.endswith("; and 2 more")


def test_a_split_of_corrupt_images_is_refused(folder: Path) -> None:
    for broken in folder.glob("test/*/*.png"):
        broken.write_bytes(b"")
    assert f"{folder / 'test'} holds no image that can be read; " in message_of(
        f"imagefolder:{folder}"
    )


def test_a_truncated_image_is_left_out(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    broken = folder / "train" / "dog" / "1.png"
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[:70])
    assert str(broken) in load(f"imagefolder:{folder}").notes[0]


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_of_another_size_is_named_where_no_size_was_asked_for(
    folder: Path, split: str
) -> None:
    odd = folder / split / "dog" / "1.png"
    save_image(odd, size=(7, 4))
    assert message_of(f"imagefolder:{folder}") == (
        f"{odd} is 4×7 pixels, and the images before it 4×6. Pass an img_size to resize them to."
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_of_several_sizes_are_resized_and_cropped_to_the_models(
    folder: Path, split: str
) -> None:
    save_image(folder / split / "dog" / "1.png", colour=50, size=(14, 9))
    pets = load(f"imagefolder:{folder}", img_size=(8, 5))
    assert pets.img_size == (8, 5)
    assert getattr(pets, split).images[3 if split == "test" else 4, 0].tolist() == [[50] * 5] * 8
    assert pets.notes[0] == (
        "pets: the images are of several sizes; each was resized until it covered 8×5, and its "
        "middle kept"
    )


def test_images_of_one_size_stay_as_they_are(folder: Path) -> None:
    assert load(f"imagefolder:{folder}", img_size=(8, 5)).img_size == (4, 6)


def test_a_set_too_large_for_the_memory_stays_on_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagefolder, "MEMORY_LIMIT", 10 * 3 * 8 * 5 - 1)
    assert isinstance(load(f"imagefolder:{folder}", img_size=(8, 5)).train, FileSplit)
    held = load(f"imagefolder:{folder}", img_size=(8, 5), stream="off")
    assert not isinstance(held.train, FileSplit)
    monkeypatch.setattr(imagefolder, "MEMORY_LIMIT", 10 * 3 * 8 * 5)
    assert not isinstance(load(f"imagefolder:{folder}", img_size=(8, 5)).train, FileSplit)


def test_a_stream_needs_a_size(folder: Path) -> None:
    with pytest.raises(UsageError, match="stream is on, and no img_size says what pets's images"):
        load(f"imagefolder:{folder}", stream="on")


def test_one_class_is_nothing_to_tell_apart(folder: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "dog")
    assert "has one class only, 'cat': there is nothing to tell apart. Add" in message_of(
        f"imagefolder:{folder}"
    )


def test_imagenet_cannot_be_downloaded(tmp_path: Path) -> None:
    message = message_of("imagenet", tmp_path)
    assert f"unpack it to {tmp_path}/imagenet/train/<synset>/*.JPEG and" in message


def test_imagenet_is_a_folder_of_synsets(folder: Path) -> None:
    (folder / "test").rename(folder / "val")
    folder.rename(folder.with_name("imagenet"))
    assert load("imagenet", root=folder.parent).label == "ImageNet-1k"


def test_a_split_refuses_images_that_are_not_uint8() -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(N, channels, H, W\), not float64"):
        Split(np.zeros((2, 1, 3, 4)), np.zeros(2, dtype=np.int64))


def test_a_split_refuses_labels_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"2 images, but labels of \(3,\)"):
        Split(np.zeros((2, 1, 3, 4), dtype=np.uint8), np.zeros(3, dtype=np.int64))


def test_a_dataset_knows_its_shape() -> None:
    split = Split(np.zeros((2, 1, 3, 4), dtype=np.uint8), np.zeros(2, dtype=np.int64))
    assert Dataset("x", "X", split, split, ("a",)).img_size == (3, 4)


def test_every_file_of_the_folder_registers_a_dataset() -> None:
    modules = {module.rpartition(".")[2].replace("_", "-") for module in datasets.modules()}
    assert modules == set(datasets)
