"""What torch.save wrote before 1.6: equal to what torch reads, lazily and without torch."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load

LEGACY = {"_use_new_zipfile_serialization": False}


def test_tensors_of_all_sizes_are_read_as_torch_reads_them(saved, vit, equal):
    odd = {
        "half": torch.arange(7.0).half(),
        "brain": torch.arange(7.0).bfloat16(),
        "eight": torch.arange(7.0).to(torch.float8_e4m3fn),
        "double": torch.arange(5.0).double(),
        "long": torch.arange(5),
        "flag": torch.tensor([True, False]),
        "complex": torch.arange(4.0) * 1j,
    }
    ckpt = load(saved({**vit, **odd}, **LEGACY))
    assert ckpt.format == "pytorch"
    assert all(equal(ckpt.tensor(key), value) for key, value in (vit | odd).items())


def test_views_of_one_storage_are_honoured(saved, equal):
    base = torch.arange(60.0).reshape(3, 4, 5)
    views = {"whole": base, "t": base.transpose(0, 2), "part": base[1:, 2:, ::2]}
    ckpt = load(saved(views, **LEGACY))
    assert all(equal(ckpt.tensor(key), value) for key, value in views.items())


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_namespace_and_the_containers_are_read(protocol, saved, vit):
    contents = {"model": vit, "args": argparse.Namespace(join_type="unshare"), "epoch": 7}
    ckpt = load(saved(contents, pickle_protocol=protocol, **LEGACY))
    assert ckpt.hints.join == "unshare"
    assert ckpt.metadata["epoch"] == 7


def test_a_view_that_names_its_part_of_the_storage_is_read(saved, tmp_path):
    """PyTorch 0.x wrote a view's offset into the persistent id, in place of None."""
    content = saved({"pos_embed": torch.arange(8.0)[2:5]}, **LEGACY).read_bytes()
    before = b"K\x08Ntq"  # 8 elements, no view, end of the id
    assert content.count(before) == 1
    path = tmp_path / "view.pth"
    view = b"K\x08X\x01\x00\x00\x00vK\x02K\x03\x87tq"
    shifted = content.replace(before, view).replace(b"QK\x02K\x03\x85", b"QK\x01K\x02\x85")
    path.write_bytes(shifted)
    assert np.array_equal(load(path).tensor("pos_embed"), [3.0, 4.0])


def test_a_truncated_file_is_caught_at_every_length(saved, vit, tmp_path):
    whole = saved(vit, **LEGACY).read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableCheckpoint):
            load(path)


def test_a_storage_that_claims_more_than_the_file_is_caught(saved, tmp_path):
    whole = saved({"pos_embed": torch.ones(3, 4)}, **LEGACY).read_bytes()
    path = tmp_path / "lies.pth"
    count = (12).to_bytes(8, "little")
    assert whole.count(count) == 1
    path.write_bytes(whole.replace(count, (1 << 62).to_bytes(8, "little")))
    with pytest.raises(UnreadableCheckpoint, match="is truncated: storage"):
        load(path)
