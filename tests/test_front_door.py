"""The public functions take an embedding, a checkpoint, a path, a module or a state dict."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import pe_inspect as pei

GRID = pei.Hints(grid_size=(3, 4), num_prefix_tokens=1)


def states(*, with_bias: bool = False) -> dict[str, np.ndarray]:
    """A ViT with a learned table of 4×4 patches, and a relative bias beside it if asked for."""
    random = np.random.default_rng(0)
    shapes = {
        "cls_token": (1, 1, 8),
        "pos_embed": (1, 17, 8),
        "patch_embed.proj.weight": (8, 3, 4, 4),
        "blocks.0.norm1.weight": (8,),
        "blocks.0.norm1.bias": (8,),
        "blocks.0.attn.qkv.weight": (24, 8),
    }
    if with_bias:
        shapes["blocks.0.attn.relative_position_bias_table"] = (49, 2)
    return {k: random.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}


class Vit(torch.nn.Module):
    """A module with these weights."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        super().__init__()
        for name, values in state.items():
            *folders, last = name.split(".")
            place = self
            for folder in folders:
                if not hasattr(place, folder):
                    place.add_module(folder, torch.nn.Module())
                place = getattr(place, folder)
            place.register_parameter(last, torch.nn.Parameter(torch.from_numpy(values)))


@pytest.fixture
def path(tmp_path):
    save_file(states(), tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


@pytest.fixture
def two_schemes(tmp_path):
    save_file(states(with_bias=True), tmp_path / "two.safetensors")
    return tmp_path / "two.safetensors"


SUBJECTS = {
    "embedding": lambda path: pei.extract(pei.load(path))[0],
    "checkpoint": pei.load,
    "path": lambda path: path,
    "text": str,
    "module": lambda _: Vit(states()),
    "state dict": lambda _: states(),
    "torch's state dict": lambda _: Vit(states()).state_dict(),
}


@pytest.mark.parametrize("sort", SUBJECTS)
def test_every_subject_has_the_same_answer(path, sort):
    subject = SUBJECTS[sort](path)
    usual = pei.similarity(pei.extract(pei.load(path))[0])
    assert pei.similarity(subject).summary() == pytest.approx(usual.summary(), nan_ok=True)
    assert pei.interpolate(subject, grid=(3, 5)).grid_size == (3, 5)
    assert pei.layernorm(subject).names == ("norm1",)


def test_extract_opens_what_it_is_given(path):
    assert [pe.family for pe in pei.extract(path)] == ["learned_absolute"]
    assert pei.extract(states())[0].grid_size == (4, 4)


def test_hints_of_a_checkpoint_are_kept(tmp_path):
    wide = states() | {"pos_embed": np.ones((1, 13, 8), np.float32)}
    save_file(wide, tmp_path / "wide.safetensors")
    checkpoint = pei.load(tmp_path / "wide.safetensors", hints=GRID)
    assert pei.similarity(checkpoint, family="learned_absolute").grid_size == (3, 4)


def test_several_embeddings_are_named_and_family_chooses(two_schemes):
    with pytest.raises(pei.UsageError, match="holds 2 position embeddings:\n  learned_abs") as said:
        pei.similarity(two_schemes)
    assert "relative_bias · 4×4" in str(said.value)
    assert "Pass family='learned_absolute'" in str(said.value)
    assert pei.similarity(two_schemes, family="relative_bias").pe.family == "relative_bias"
    assert len(pei.extract(two_schemes)) == 2
    with pytest.raises(pei.UsageError, match="Did you mean 'relative_bias'"):
        pei.similarity(two_schemes, family="relative_bais")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (3, r"Expected a PositionEmbedding, a Checkpoint, a path, a module or a state dict, not "),
        (None, "not NoneType"),
        ([1, 2], r"given a list of 2\. Pass one of them, as pe_inspect\.extract"),
        ({"model": {}}, r"as subject\['model'\]"),
        ({}, "no state dict"),
    ],
)
@pytest.mark.parametrize("name", ["similarity", "interpolate", "layernorm", "extract", "rebuild"])
def test_a_wrong_argument_names_the_right_call(name, wrong, said):
    with pytest.raises(pei.UsageError, match=said):
        getattr(pei, name)(wrong)


def test_what_needs_the_whole_checkpoint_says_so(path):
    (table,) = pei.extract(path)
    with pytest.raises(pei.UsageError, match="needs a whole checkpoint"):
        pei.rebuild(table)


def test_an_answer_is_not_asked_again(path):
    with pytest.raises(pei.UsageError, match="SimilarityResult is an answer already"):
        pei.layernorm(pei.similarity(path))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(pei.UnreadableCheckpoint, match=r"No file or folder at nowhere\.pth"):
        pei.similarity("nowhere.pth")


@pytest.mark.parametrize("name", ["similarity", "interpolate", "layernorm", "extract"])
def test_the_signature_shows_the_subject_and_the_family(name):
    parameters = inspect.signature(getattr(pei, name)).parameters
    assert next(iter(parameters)) == "subject"
    assert parameters["family"].default is None
    assert "a path or a name" in getattr(pei, name).__doc__
