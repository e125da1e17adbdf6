"""Files and folders of other tools: what each is, and how to get one that opens."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from wire_messages import message

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load


def _tar(*names, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 700
            file.addfile(info, io.BytesIO(bytes(700)))
    return buffer.getvalue()


def _zip(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


NODE = message((1, "input"), (2, "Placeholder"))
GRAPH = message((1, NODE), (1, NODE))
META = message((1, message((4, "serve"))), (2, GRAPH))
FILES = {
    "saved model": (message((1, 1), (2, META)), "graph of a TensorFlow SavedModel.*saved_model.lo"),
    "frozen graph": (GRAPH, "is a frozen TensorFlow graph"),
    "meta graph": (META, "graph of a TensorFlow checkpoint, without its numbers"),
    "bundle": (bytes(90) + bytes.fromhex("57fb808b247547db"), "part of a TensorFlow checkpoint"),
    "checkpoint note": (b'model_checkpoint_path: "model.ckpt-7"\n', "TensorFlow keeps the name"),
    "tflite": (b"\x1c\0\0\0TFL3", "is a TFLite model"),
    "core ml": (message((1, 7), (2, message((1, "image"))), (502, b"")), "is a Core ML model"),
    "packed core ml": (_zip("Data/m.mlmodel", "Manifest.json"), "is a packed Core ML model"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="vit" version="11">', "is the graph of an Op"),
    "ncnn": (b"7767517\n75 83\n", "is the graph of an ncnn model"),
    "executorch": (b"\x1c\0\0\0ET12", "is an ExecuTorch program"),
    "nemo": (_tar("./model_config.yaml", "./model_weights.ckpt"), "NeMo archive.*weights.ckpt"),
    "packed nemo": (_tar("model_config.yaml", "m.ckpt", mode="w:gz"), "is a NeMo archive"),
    "torch 0.1": (_tar("sys_info", "pickle", "storages", "tensors"), "PyTorch 0.1"),
    "tar of weights": (_tar("a/model.pth"), "is a tar archive that holds a/model.pth"),
    "packed tar": (_tar("vit.npz", mode="w:gz"), "a tar archive packed by gzip that holds vit.npz"),
    "gzip": (gzip.compress(bytes(90)), "is a gzip archive"),
    "zip of weights": (_zip("a.pth", "b.bin"), "zip archive.*that holds a.pth, b.bin.*unpack it"),
    "torchserve": (_zip("MAR-INF/MANIFEST.json", "m.pt"), "is a TorchServe archive"),
    "paddle": (bytes(16) + b"\x08\0\0\0\x08\x05\x10\x03\x10\x04", "is a Paddle inference model"),
    "git-annex": (b"/annex/objects/SHA256E-s9--ab.pth\n", "is a git-annex pointer"),
    "xet": (b'# xet version 0\nfilesize = 5\nhash = "ab"\n', "is a Xet pointer"),
    "refusal": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code>', "server's refusal"),
    "xml": (b'<?xml version="1.0"?>\n<note>', "is an XML document"),
    "page": (b'<?xml version="1.0"?>\n<!DOCTYPE html><html>', "is a web page"),
    "index": (b'{"weight_map": {"a": "b"}}', "is the index of a sharded checkpoint"),
    "ggml": (b"lmgg\0\0\0\0", "is a GGML file of before GGUF"),
    "engine": (b"ftrt\0\0", "is a TensorRT engine"),
}


@pytest.mark.parametrize("kind", FILES)
def test_another_tool_s_file_is_named_whatever_it_is_called(kind, tmp_path):
    content, said = FILES[kind]
    path = tmp_path / "ckpt.pth"
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match=said) as error:
        load(path)
    assert "\n" not in str(error.value)


FOLDERS = {
    "orbax": (["_CHECKPOINT_METADATA", "manifest.ocdbt", "d/0"], "is an Orbax checkpoint"),
    "orbax item": (["default/_METADATA", "default/d/0"], "is an Orbax checkpoint"),
    "saved model": (["saved_model.pb", "variables/variables.index"], "is a TensorFlow SavedModel"),
    "tensorflow": (["checkpoint", "m.ckpt.index", "m.ckpt.data-00000-of-00001"], "TensorFlow ch"),
    "core ml": (["Manifest.json", "Data/com.apple.CoreML/m.mlmodel"], "is a Core ML package"),
    "openvino": (["openvino_model.xml", "openvino_model.bin"], "numbers of an OpenVINO"),
    "deepspeed": (
        ["latest", "zero_to_fp32.py", "global_step9/mp_rank_00_model_states.pt"],
        "is a DeepSpeed checkpoint.*zero_to_fp32.py",
    ),
    "deepspeed step": (
        ["mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"],
        "is a DeepSpeed checkpoint",
    ),
    "megatron": (["latest_checkpointed_iteration.txt", "iter_9/x"], "is a Megatron checkpoint"),
    "zarr": ([".zgroup", "a/.zarray"], "is a Zarr store"),
    "paddle": (["m.pdmodel", "m.pdiparams"], "is a Paddle inference model"),
    "steps": (["step-9/.metadata", "step-9/__0_0.distcp"], "own folders hold step-9: give one"),
    "diffusers": (["model_index.json", "unet/model.safetensors"], "hold unet/model.safetensors"),
    "shards alone": (["__0_0.distcp"], "distributed checkpoint without its .metadata"),
    "nothing": (["README.md"], r"is a folder without weights\. Expected model.safetensors"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_another_tool_s_folder_is_named(kind, tmp_path):
    names, said = FOLDERS[kind]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(UnreadableCheckpoint, match=said) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_of_other_names_beside_a_weight_file_stays_a_folder_of_weights(vit, tmp_path):
    torch.save(vit, tmp_path / "weights.pth")
    (tmp_path / "checkpoint").write_text("epoch 9")
    assert set(load(tmp_path).keys) == set(vit)


def test_a_rank_s_partition_of_an_optimizer_is_told(tmp_path):
    state = {"single_partition_of_fp32_groups": [torch.ones(99)], "zero_stage": 2}
    path = tmp_path / "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    torch.save({"optimizer_state_dict": state, "ds_version": "0.14"}, path)
    with pytest.raises(UnreadableCheckpoint, match=r"one rank's partition.*zero_to_fp32"):
        load(path)


def test_weights_that_zero_has_cut_are_told_and_whole_ones_open(vit, tmp_path):
    cut = {name: torch.ones(0) for name in vit}
    for weights in (cut, vit):
        torch.save({"module": weights, "ds_version": "0.14"}, tmp_path / "model_states.pt")
        if weights is vit:
            assert set(load(tmp_path / "model_states.pt").keys) == set(vit)
            continue
        with pytest.raises(UnreadableCheckpoint, match="weights that ZeRO has cut"):
            load(tmp_path / "model_states.pt")


@pytest.mark.parametrize("is_paired", [True, False])
def test_paddle_s_parameters_are_read(is_paired, vit, tmp_path):
    arrays = {name: value.numpy() for name, value in vit.items()}
    kept = {name: (f"p_{i}", a) if is_paired else a for i, (name, a) in enumerate(arrays.items())}
    words = {"StructuredToParameterName@@": dict.fromkeys(vit, "p")}
    (tmp_path / "vit.pdparams").write_bytes(pickle.dumps(kept | words, protocol=4))
    ckpt = load(tmp_path / "vit.pdparams")
    assert all((ckpt.tensor(name) == values).all() for name, values in arrays.items())
    assert any("Paddle's parameters" in note for note in ckpt.notes)


def test_what_mlx_wrote_is_said(vit, tmp_path):
    save_file(vit, tmp_path / "model.safetensors", metadata={"format": "mlx"})
    assert any("written by MLX" in note for note in load(tmp_path).notes)
    names = {"a.weight": torch.ones(4, 8, dtype=torch.uint8), "a.scales": torch.ones(4, 1)}
    save_file({**vit, **names}, tmp_path / "model.safetensors")
    assert any("quantised by MLX" in note for note in load(tmp_path).notes)
