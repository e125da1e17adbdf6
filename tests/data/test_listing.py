"""A folder of images: what counts as one, what is left out and said, and which split is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from pe_inspect.data import load
from pe_inspect.data.dataset import Dataset
from pe_inspect.data.listing import SUFFIXES
from pe_inspect.errors import UsageError
from pe_inspect.training import Recipe, train

Put = Callable[..., None]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Save images of noise, of 4×6 pixels; each one another."""
    random = np.random.default_rng(0)

    def put(*names: str, form: str | None = None) -> None:
        for name in names:
            path = tmp_path / "pets" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, format=form)

    return put


@pytest.fixture
def pets(put: Put, tmp_path: Path) -> Callable[[], Dataset]:
    """A function that reads three images of cats and dogs, and what a test has put beside."""
    put("train/cat/0.png", "train/dog/0.png", "train/dog/1.png", "test/cat/0.png", "test/dog/0.png")

    def pets() -> Dataset:
        return load(f"imagefolder:{tmp_path / 'pets'}")

    return pets


def test_the_kinds_that_are_read_are_torchvisions() -> None:
    assert set(IMG_EXTENSIONS) == SUFFIXES


def test_a_clean_folder_needs_no_note(pets: Callable[[], Dataset]) -> None:
    assert pets().notes == ()
    assert pets().test_name == "test"


def test_the_files_and_labels_are_torchvisions_where_nothing_is_hidden(
    pets: Callable[[], Dataset], put: Put, tmp_path: Path
) -> None:
    put("train/cat/more/a.bmp", "train/cat/b.webp", "train/dog/c.tiff", "train/dog/d.pgm.jpg")
    theirs = ImageFolder(str(tmp_path / "pets" / "train"))
    ours = pets()
    assert ours.classes == tuple(theirs.classes)
    assert sorted(ours.train.labels.tolist()) == sorted(theirs.targets)
    assert len(ours.train) == len(theirs)


def test_hidden_folders_and_files_are_no_classes_and_no_images(
    pets: Callable[[], Dataset], put: Put, tmp_path: Path
) -> None:
    put("train/.ipynb_checkpoints/0-checkpoint.png", "train/cat/.ipynb_checkpoints/1.png")
    put("train/dog/._0.png", "test/.cache/0.png")
    read, folder = pets(), tmp_path / "pets"
    assert read.classes == ("cat", "dog")
    assert (len(read.train), len(read.test)) == (3, 2)
    assert read.notes == (
        f"{folder}/train: hidden, and left out, are .ipynb_checkpoints, cat/.ipynb_checkpoints, "
        "dog/._0.png",
        f"{folder}/test: hidden, and left out, is .cache",
    )


def test_every_kind_that_is_left_out_is_counted_and_named(
    pets: Callable[[], Dataset], put: Put, tmp_path: Path
) -> None:
    put("train/cat/a.gif", "train/cat/b.GIF")
    put("train/dog/a.jfif", form="JPEG")
    put("train/loose.png")
    (tmp_path / "pets" / "test" / "cat" / "README").write_text("x")
    read = pets()
    assert len(read.train) == 3
    known = "Read are .bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp, as by torchvision"
    first, second = read.notes
    assert first.startswith(
        f"{tmp_path}/pets/train: 4 files were left out: 2 .gif, 1 .jfif, 1 .png beside the class "
        f"folders. {known}"
    )
    assert second.startswith(f"{tmp_path}/pets/test: 1 file was left out: 1 without an ending.")


def test_a_class_of_other_kinds_alone_says_which(pets: Callable[[], Dataset], put: Put) -> None:
    put("train/eel/a.gif", "train/eel/b.gif")
    with pytest.raises(UsageError, match=r"eel holds no image \(.bmp.*\); there are 2 \.gif\. Put"):
        pets()


def test_a_class_without_test_images_is_said(pets: Callable[[], Dataset], put: Put) -> None:
    put("train/ant/0.png")
    read = pets()
    assert read.classes == ("ant", "cat", "dog")
    assert read.test.labels.tolist() == [1, 2]
    (note,) = read.notes
    assert "pets/test has no image of 1 of the 3 classes: ant. What is measured there" in note


@pytest.mark.parametrize("flat", ["test/0.png", "test/unsorted/0.png"])
def test_an_unlabelled_test_folder_hides_no_labelled_val(
    put: Put, tmp_path: Path, flat: str
) -> None:
    put("train/cat/0.png", "train/dog/0.png", flat, "val/cat/0.png", "val/dog/0.png")
    folder = tmp_path / "pets"
    read = load(f"imagefolder:{folder}")
    assert (len(read.test), read.test_name) == (2, "val")
    assert read.notes == (
        f"{folder}/test has no folders of these classes, and is not read; {folder}/val is",
    )


def test_of_two_labelled_folders_the_first_is_read_and_the_other_named(
    pets: Callable[[], Dataset], put: Put, tmp_path: Path
) -> None:
    put("val/cat/0.png", "val/cat/1.png", "val/dog/0.png")
    read, folder = pets(), tmp_path / "pets"
    assert (len(read.test), read.test_name) == (2, "test")
    assert read.notes == (f"{folder}/val is not read; {folder}/test is",)


@pytest.mark.parametrize(("name", "contrary"), [("dog", ""), ("cat", "; 1 of them under another")])
def test_images_in_both_splits_are_counted(
    pets: Callable[[], Dataset], tmp_path: Path, name: str, contrary: str
) -> None:
    folder = tmp_path / "pets"
    twin = folder / "test" / name / "z.png"
    twin.write_bytes((folder / "train" / "dog" / "1.png").read_bytes())
    (note,) = pets().notes
    assert note.startswith(
        f"1 of 3 test images are among the training images, to the pixel, e.g. {twin} and "
        f"{folder}/train/dog/1.png{contrary}"
    )


@pytest.mark.parametrize("most", [1000, 1])
def test_of_streamed_images_files_are_compared_byte_for_byte(
    pets: Callable[[], Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("pe_inspect.data.overlap.MOST_COMPARED", most)
    pets()
    folder = tmp_path / "pets"
    which = "2 test files" if most > 2 else "1 of 2 test files"
    read = load(f"imagefolder:{folder}", img_size=(4, 6), stream="on").notes[1]
    assert f"{which} were compared with the training files: none is one of them" in read

    twin = folder / "test" / "cat" / "0.png"
    twin.write_bytes((folder / "train" / "dog" / "1.png").read_bytes())
    read = load(f"imagefolder:{folder}", img_size=(4, 6), stream="on").notes[1]
    assert f"1 are among them, byte for byte, e.g. {twin} and {folder}/train/dog/1.png" in read


def test_what_was_left_out_is_said_where_the_classes_do_not_fit(
    pets: Callable[[], Dataset], put: Put, tmp_path: Path
) -> None:
    put("train/.ipynb_checkpoints/0-checkpoint.png")
    pets()
    model = {"img_size": [4, 6], "patch_size": [2, 2], "num_classes": 3}
    recipe = {"name": "tiny", "data": f"imagefolder:{tmp_path}/pets", "model": model}
    said: list[str] = []
    with pytest.raises(UsageError, match="has num_classes 2"):
        train(Recipe.from_dict(recipe), out=tmp_path / "run", device="cpu", say=said.append)
    assert said == [f"{tmp_path}/pets/train: hidden, and left out, is .ipynb_checkpoints"]
