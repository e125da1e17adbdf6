"""Images that cannot be read are left out of every row, and named."""

from __future__ import annotations

import numpy as np
import pytest
from closeness import ROUNDING, assert_close
from PIL import Image

import pe_inspect as pei
from pe_inspect.data import Dataset
from pe_inspect.data.dataset import FileSplit
from pe_inspect.errors import UsageError

COUNT, BROKEN = 7, (2, 3, 5)


@pytest.fixture
def checkpoint(lively, as_checkpoint):
    return as_checkpoint(lively("learned"), name="noise", mean=[0.5] * 3, std=[0.2] * 3)


@pytest.fixture
def files(tmp_path):
    """Seven images of noise; the label is the image's number."""
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.png" for k in range(COUNT)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(path)
    return paths


def dataset_of(files, labels):
    split = FileSplit(files, np.array(labels), (12, 20))
    return Dataset("disk", "disk", split, split, tuple("abcdefg"))


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_broken_images_are_left_out_of_every_row(checkpoint, files, batch_size):
    whole = [k for k in range(COUNT) if k not in BROKEN]
    for k in BROKEN:
        files[k].write_bytes(b"no image")
    asked = {"res": [(24, 40)], "remove": True, "batch_size": batch_size}
    found = pei.evaluate(checkpoint, dataset_of(files, range(COUNT)), **asked)
    others = pei.evaluate(checkpoint, dataset_of([files[k] for k in whole], whole), **asked)
    assert [row.count for row in found.rows] == [4, 4, 4]
    assert found.parameters["images"] == 4
    assert_close([row.loss for row in found.rows], [row.loss for row in others.rows])
    (note,) = (note for note in found.notes if "cannot be read" in note)
    assert note.startswith(
        "3 of 7 images of the test split cannot be read and were left out: "
        f"{files[2]} (its content is of no known kind); {files[3]} "
    )


def test_permuted_patches_stay_those_of_their_image(checkpoint, files):
    files[0].write_bytes(b"")
    found = [
        pei.evaluate(
            checkpoint, dataset_of(files, range(COUNT)), batch_size=size, permute_patches=True
        )
        for size in (1, 7)
    ]
    assert found[0].rows[1].loss == pytest.approx(found[1].rows[1].loss, rel=ROUNDING)


def test_where_no_image_can_be_read_it_stops(checkpoint, files):
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(UsageError, match=r"7 of 7 images of .*; and 4 more\. Pass --data with"):
        pei.evaluate(checkpoint, dataset_of(files, range(COUNT)))


def test_an_array_of_files_of_which_one_is_broken_is_refused(files):
    files[4].write_bytes(b"")
    with pytest.raises(UsageError, match=r"4\.png cannot be read .* Replace it or remove it\.$"):
        _ = dataset_of(files, range(COUNT)).test.images
