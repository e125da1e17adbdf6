"""Folders of torch.distributed.checkpoint: its own writer makes them, and torch says what is in."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from pe_inspect.errors import UnreadableCheckpoint, UnsafeCheckpoint
from pe_inspect.loading import load

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")


class Sharded(torch.Tensor):
    """A tensor that tells the writer of its chunks, as a sharded one does on its ranks."""

    @staticmethod
    def cut(tensor, *cuts):
        """Cut each axis at the given places."""
        sharded = torch.Tensor._make_subclass(Sharded, tensor)
        sharded.cuts = cuts
        return sharded

    def boxes(self):
        edges = [
            list(zip([0, *at], [*at, side], strict=True))
            for at, side in zip(self.cuts, self.shape, strict=True)
        ]
        grid = np.indices([len(axis) for axis in edges]).reshape(len(edges), -1).T
        return [[edges[axis][i] for axis, i in enumerate(place)] for place in grid]

    def __create_write_items__(self, fqn, _tensor):
        properties = TensorProperties(dtype=self.dtype)
        return [
            WriteItem(
                index=MetadataIndex(fqn, torch.Size([a for a, _ in box])),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    ChunkStorageMetadata(
                        torch.Size([a for a, _ in box]), torch.Size([b - a for a, b in box])
                    ),
                    properties,
                    torch.Size(self.shape),
                ),
            )
            for box in self.boxes()
        ]

    def __get_tensor_shard__(self, index):
        box = next(b for b in self.boxes() if tuple(a for a, _ in b) == tuple(index.offset))
        plain = self.as_subclass(torch.Tensor)
        return plain[tuple(slice(a, b) for a, b in box)].clone()


@pytest.fixture
def folder(vit, tmp_path):
    """The weights of `vit` beside an optimizer's, two of them cut into uneven chunks."""
    cut = {
        **vit,
        "pos_embed": Sharded.cut(vit["pos_embed"], (), (3, 9), ()),
        "head.weight": Sharded.cut(vit["head.weight"], (1,), (3, 4)),
        "norm.weight": vit["norm.weight"].bfloat16(),
    }
    state = {"model": cut, "optimizer": {"state": [torch.ones(2)]}, "step": 7}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(tmp_path / "run", thread_count=2))
    return tmp_path / "run"


def test_a_folder_holds_what_was_saved(folder, vit, equal):
    ckpt = load(folder)
    assert ckpt.format == "dcp"
    assert set(ckpt.keys) == set(vit)
    rounded = {**vit, "norm.weight": vit["norm.weight"].bfloat16()}
    assert all(equal(ckpt.tensor(key), value) for key, value in rounded.items())
    assert ckpt.dtype("norm.weight") == "bfloat16"
    assert "a distributed checkpoint of 2 files was read" in ckpt.notes


def test_the_metadata_stands_for_its_folder(folder, vit, equal):
    assert equal(load(folder / ".metadata").tensor("pos_embed"), vit["pos_embed"])


def test_only_the_chunks_of_a_tensor_that_is_asked_for_are_read(folder, vit, equal):
    ckpt = load(folder)
    for file in folder.glob("*.distcp"):
        content = bytearray(file.read_bytes())
        at = content.find(vit["head.weight"][1:, 4:].clone().numpy().tobytes())
        if at >= 0:
            content[at - 200 : at] = bytes(200)
            file.write_bytes(content)
    ckpt = load(folder)
    assert equal(ckpt.tensor("pos_embed"), vit["pos_embed"])
    with pytest.raises(UnreadableCheckpoint):
        ckpt.tensor("head.weight")


def test_a_rank_s_file_alone_points_to_its_folder(folder):
    with pytest.raises(UnreadableCheckpoint, match=f"one rank's part.*give the folder, {folder}"):
        load(folder / "__0_0.distcp")


def test_half_of_a_folder_names_what_is_missing(folder):
    (folder / "__0_1.distcp").unlink()
    with pytest.raises(UnreadableCheckpoint, match=r"lacks '__0_1.distcp'.*copy the missing"):
        load(folder)
    (folder / ".metadata").unlink()
    with pytest.raises(
        UnreadableCheckpoint, match=r"distributed checkpoint without its \.metadata"
    ):
        load(folder)


def test_a_truncated_file_and_one_of_another_run_are_told(folder, tmp_path):
    file = folder / "__0_0.distcp"
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(UnreadableCheckpoint, match="truncated, or was written by another run"):
        load(folder)
    file.write_bytes(content)
    shutil.copy(folder / "__0_1.distcp", file)
    with pytest.raises(UnreadableCheckpoint, match="another run"):
        load(folder)


def test_chunks_of_another_run_of_the_same_size_are_not_taken(tmp_path):
    for name, shape in (("a", (4, 6)), ("b", (6, 4))):
        dcp.save({"pos_embed": torch.ones(shape)}, checkpoint_id=tmp_path / name)
    shutil.copy(tmp_path / "b" / "__0_0.distcp", tmp_path / "a" / "__0_0.distcp")
    with pytest.raises(UnreadableCheckpoint, match="two runs were mixed"):
        load(tmp_path / "a").tensor("pos_embed")


def _changed(folder, change):
    path = folder / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))


def test_a_metadata_that_lies_is_caught(folder, tmp_path):
    def enlarge(metadata):
        metadata.state_dict_metadata["model.head.weight"].size = torch.Size([1 << 40, 8])

    _changed(folder, enlarge)
    with pytest.raises(
        UnreadableCheckpoint, match=r"chunks of model\.head\.weight that are not all"
    ):
        load(folder)


def test_a_chunk_lies_in_the_folder_and_nowhere_else(folder, tmp_path):
    shutil.copy(folder / "__0_0.distcp", tmp_path / "outside.distcp")

    def lead_out(metadata):
        for info in metadata.storage_data.values():
            info.relative_path = "../outside.distcp"

    _changed(folder, lead_out)
    with pytest.raises(UnreadableCheckpoint, match=r"lacks '\.\./outside.distcp'"):
        load(folder)


def test_packed_chunks_are_told_with_what_packed_them(folder):
    def pack(metadata):
        for info in metadata.storage_data.values():
            info.transform_descriptors = ["stream.zstd"]

    _changed(folder, pack)
    with pytest.raises(UnreadableCheckpoint, match=r"was packed by stream\.zstd"):
        load(folder).tensor("pos_embed")


def test_a_metadata_that_would_run_code_is_refused(folder):
    class Evil:
        def __reduce__(self):
            import os

            return os.system, ("true",)

    def poison(metadata):
        metadata.planner_data = Evil()

    _changed(folder, poison)
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.system"):
        load(folder)


def test_a_pickle_of_something_else_is_no_metadata(folder):
    (folder / ".metadata").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UnreadableCheckpoint, match=r"no \.metadata of torch.distributed"):
        load(folder)
