"""Programs of torch.export and TorchScript: their parameters are those of the module, unrun."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch

from pe_inspect.errors import UnreadableCheckpoint, UnsafeCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.rewriting import written_as

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(torch.nn.Module):
    """A table, a norm that has a second name, a list of matrices, buffers, narrow numbers."""

    def __init__(self):
        super().__init__()
        self.pos_embed = torch.nn.Parameter(torch.randn(1, 13, 8))
        self.norm = torch.nn.LayerNorm(8)
        self.tied = self.norm.weight
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(2)])
        self.low = torch.nn.Parameter(torch.randn(4).bfloat16())
        self.register_buffer("index", torch.arange(5))
        self.turned = torch.nn.Parameter(torch.randn(8, 3).T)

    def forward(self, x):
        x = self.norm(x + self.pos_embed) + self.low.sum() + self.turned.sum()
        return self.blocks[1](self.blocks[0](x)) + self.index.sum() + self.tied


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    return Model().eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "m.pt2"
    torch.export.save(torch.export.export(model, (torch.zeros(1, 13, 8),)), path)
    return path


@pytest.fixture(scope="module")
def scripted(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "m.pt"
    torch.jit.save(torch.jit.trace(model, (torch.zeros(1, 13, 8),)), path)
    return path


@pytest.fixture(scope="module")
def old_export(model, tmp_path_factory):
    """The layout of PyTorch 2.1 to 2.7, whose weights are a file of torch.save."""
    path = tmp_path_factory.mktemp("old") / "m.pt2"
    saved = io.BytesIO()
    torch.save(model.state_dict(), saved)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", saved.getvalue())
    return path


KINDS = {"exported": "pt2", "old_export": "pt2", "scripted": "torchscript"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_holds_its_module_s_state(kind, model, request, equal):
    path = request.getfixturevalue(kind)
    ckpt = load(path)
    assert ckpt.format == KINDS[kind]
    assert set(ckpt.keys) == set(model.state_dict())
    assert all(equal(ckpt.tensor(name), value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_tied_weights_are_counted_once(kind, model, request):
    path = request.getfixturevalue(kind)
    assert load(path).num_parameters == sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_is_not_written_and_says_what_to_do(kind, request):
    with pytest.raises(UsageError, match=r"is not written: its program holds.*state_dict"):
        written_as(LocalFile(request.getfixturevalue(kind)))


def _rewritten(path, target, change):
    """Copy an archive, each member changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            content = change(info.filename, old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
    return target


def _config(change):
    def changed(name, content):
        if not name.endswith("_weights_config.json"):
            return content
        said = json.loads(content)
        change(said["config"]["pos_embed"])
        return json.dumps(said).encode()

    return changed


LIES = {
    "huge": lambda entry: entry["tensor_meta"]["sizes"].append({"as_int": 1 << 40}),
    "below zero": lambda entry: entry["tensor_meta"]["sizes"].append({"as_int": -1}),
    "symbol": lambda entry: entry["tensor_meta"]["sizes"].append({"as_expr": "s0"}),
    "type": lambda entry: entry.pop("tensor_meta"),
    "no member": lambda entry: entry.update(path_name="weight_99"),
    "far": lambda entry: entry["tensor_meta"]["storage_offset"].update(as_int=1 << 20),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_description_that_lies_is_one_line(kind, exported, tmp_path):
    path = _rewritten(exported, tmp_path / "m.pt2", _config(LIES[kind]))
    with pytest.raises(UnreadableCheckpoint, match=r"m\.pt2 (describes|lacks) .*weight|pos_embed"):
        load(path)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch ran",)


def test_a_program_with_code_in_its_weights_is_refused_and_nothing_is_run(
    exported, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    saved = io.BytesIO()
    torch.save(Evil(), saved)

    def poison(name, content):
        return saved.getvalue() if name.endswith("weight_0") else content

    pickled = _rewritten(exported, tmp_path / "a.pt2", _config(lambda e: e.update(use_pickle=True)))
    path = _rewritten(pickled, tmp_path / "m.pt2", poison)
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.system"):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_sample_inputs_are_not_looked_at(exported, tmp_path, model, equal):
    def poison(name, content):
        return pickle.dumps(Evil()) if "sample_inputs" in name else content

    path = _rewritten(exported, tmp_path / "m.pt2", poison)
    assert equal(load(path).tensor("pos_embed"), model.pos_embed)


def test_a_script_whose_pickle_names_other_code_is_refused(scripted, tmp_path):
    def poison(name, content):
        return pickle.dumps(Evil()) if name.endswith("/data.pkl") else content

    with pytest.raises(UnsafeCheckpoint, match=r"posix\.system"):
        load(_rewritten(scripted, tmp_path / "m.pt", poison))


def test_a_compiled_program_says_that_it_holds_no_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/data/aotinductor/model/a.so", b"\x7fELF")
    with pytest.raises(UnreadableCheckpoint, match="exported program without weights of its own"):
        load(tmp_path / "m.pt2")


def test_a_number_is_read_without_the_others(exported, tmp_path, model):
    def spoil(name, content):
        return content if not name.endswith("weight_4") else content[:-4]

    path = _rewritten(exported, tmp_path / "m.pt2", spoil)
    with pytest.raises(UnreadableCheckpoint, match=r"describes .* wrongly"):
        load(path)
    np.testing.assert_array_equal(load(exported).tensor("low"), model.low.detach().float().numpy())
