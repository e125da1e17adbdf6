"""Keras's weights in its three files are the model's own, under its layers' names."""

from __future__ import annotations

import os
import zipfile

import h5py
import numpy as np
import pytest

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.rewriting import written_as

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(9)


@pytest.fixture(scope="module")
def model():
    """A small tower of Keras 3 on a grid of 3×4, its weights random."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")

    class Positions(keras.layers.Layer):
        def build(self, shape):
            self.token = self.add_weight(shape=(1, 1, shape[-1]), name="class_token")
            self.table = keras.layers.Embedding(13, shape[-1], name="position_embedding")
            self.table.build((1,))

        def call(self, x):
            token = keras.ops.tile(self.token, (keras.ops.shape(x)[0], 1, 1))
            return keras.ops.concatenate([token, x], 1) + self.table(keras.ops.arange(13))

    image = keras.Input((48, 64, 3))
    x = keras.layers.Conv2D(8, 16, 16, name="patch_embed")(image)
    x = Positions(name="embed")(keras.layers.Reshape((12, 8))(x))
    y = keras.layers.LayerNormalization(name="norm1")(x)
    x = x + keras.layers.MultiHeadAttention(2, 4, name="attn")(y, y)
    whole = keras.Model(image, keras.layers.Dense(5, name="head")(x[:, 0]))
    whole.set_weights([RNG.normal(size=w.shape).astype(np.float32) for w in whole.weights])
    return whole


def _wanted(model):
    values = {weight.path: weight.numpy() for weight in model.weights}
    query, out = values["attn/query/kernel"], values["attn/attention_output/kernel"]
    return {
        "patch_embed.weight": values["patch_embed/kernel"].transpose(3, 2, 0, 1),
        "embed.cls_token": values["embed/class_token"],
        "embed.position_embedding.weight": values["embed/position_embedding/embeddings"],
        "norm1.weight": values["norm1/gamma"],
        "norm1.bias": values["norm1/beta"],
        "attn.query.weight": query.reshape(8, 8).T,
        "attn.query.bias": values["attn/query/bias"].ravel(),
        "attn.attention_output.weight": out.reshape(8, 8).T,
        "head.weight": values["head/kernel"].T,
    }


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_every_file_of_keras_holds_the_model_s_numbers(name, model, tmp_path):
    (model.save_weights if "weights" in name else model.save)(tmp_path / name)
    ckpt = load(tmp_path / name)
    assert ckpt.format == "keras"
    assert len(ckpt) == len(model.weights)
    for key, values in _wanted(model).items():
        np.testing.assert_array_equal(ckpt.tensor(key), values, err_msg=key)


def test_transformers_names_lose_the_model_s_own(tmp_path):
    table, kernel = RNG.normal(size=(1, 13, 8)), RNG.normal(size=(8, 6)).astype(np.float32)
    stem = "vit/tf_vi_t_model/vit"
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file[f"{stem}/embeddings/position_embeddings:0"] = table.astype(np.float32)
        file[f"{stem}/encoder/layer_._0/attention/query/kernel:0"] = kernel
        file[f"{stem}/encoder/layer_._0/layernorm_before/gamma:0"] = kernel[0]
    ckpt = load(tmp_path)
    np.testing.assert_array_equal(
        ckpt.tensor("embeddings.position_embeddings"), table.astype(np.float32)
    )
    np.testing.assert_array_equal(ckpt.tensor("encoder.layer.0.attention.query.weight"), kernel.T)
    assert "encoder.layer.0.layernorm_before.weight" in ckpt


@pytest.mark.parametrize("how", [{"compression": "gzip"}, {"chunks": (2, 3)}, {}])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8"])
def test_numbers_are_read_however_they_are_kept(how, dtype, tmp_path):
    values = RNG.normal(size=(6, 8)).astype(dtype)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a/a/pos_embed:0", data=values, **how)
        file["a/a/gamma:0"] = values[0]
    found = load(tmp_path / "m.h5").tensor("pos_embed")
    np.testing.assert_array_equal(found, values.astype(np.float64))


def test_no_link_is_followed(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["pos_embed"] = np.ones((4, 8), np.float32)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/kernel"] = np.ones((4, 8), np.float32)
        file["a/b"] = h5py.ExternalLink("secret.h5", "/pos_embed")
        file["a/c"] = h5py.SoftLink("/a/kernel")
        file["a/d"] = file["a"]
    ckpt = load(tmp_path / "m.h5")
    assert len(ckpt) == 1
    assert "links out of the file or of its tree were not followed: 2" in ckpt.notes


def test_numbers_in_other_files_are_named_and_not_read(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 32))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        places = [("secret.bin", 0, 4 * 32)]
        file.create_dataset("a/pos_embed", (4, 8), "<f4", external=places)
    with pytest.raises(UnreadableCheckpoint, match="numbers that lie in other files"):
        load(tmp_path / "m.h5").tensor("pos_embed")


def test_a_dataset_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a/pos_embed", (1 << 30, 8), "<f4", chunks=(1024, 8))
    with pytest.raises(UnreadableCheckpoint, match="claims to unpack to 34359738368 bytes"):
        load(tmp_path / "m.h5")


def test_a_truncated_file_is_one_line(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/pos_embed"] = np.ones((40, 80), np.float32)
    content = (tmp_path / "m.h5").read_bytes()
    for length in (9, 100, 900, len(content) - 100):
        (tmp_path / "m.h5").write_bytes(content[:length])
        with pytest.raises(UnreadableCheckpoint, match="truncated or damaged"):
            load(tmp_path / "m.h5")


def test_a_heap_without_an_end_ends_and_a_layer_keeps_its_name(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 8), np.float32)
        file["layers/dense/vars"].attrs["name"] = "head"
    content = bytearray((tmp_path / "m.h5").read_bytes())
    heap = content.index(b"GCOL")
    free = heap + 16 + 16 + 8  # behind the heap's head, and the one object with its text
    assert content[free : free + 2] == b"\0\0"
    content[free + 8 : free + 16] = bytes(8)
    (tmp_path / "m.h5").write_bytes(content)
    assert list(load(tmp_path / "m.h5").keys) == ["head.weight"]


def test_a_packed_archive_says_what_to_give(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(900))
    with pytest.raises(UnreadableCheckpoint, match=r"is packed\. Unpack it, and give its model\.w"):
        load(tmp_path / "m.keras")


def test_without_h5py_the_message_says_what_installs_it(tmp_path, monkeypatch):
    import sys

    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/pos_embed"] = np.ones((4, 8), np.float32)
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.delitem(sys.modules, "pe_inspect.loading.hdf5", raising=False)
    with pytest.raises(UsageError, match=r"needs the package h5py.*'pe-inspect\[keras\]'"):
        load(tmp_path / "m.h5")


def test_it_is_not_written_and_says_what_to_do(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/pos_embed"] = np.ones((4, 8), np.float32)
    with pytest.raises(UsageError, match=r"is keras, and is not written: load it with Keras"):
        written_as(LocalFile(tmp_path / "m.h5"))
