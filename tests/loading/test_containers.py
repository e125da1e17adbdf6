"""Which of a file's dictionaries is the state dict, and who chooses."""

from __future__ import annotations

import argparse
from collections import OrderedDict

import numpy as np
import pytest
import torch

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading import load

NAMES = [
    *("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network"),
    *("params", "weights", "teacher", "target_encoder", "encoder", "student", "backbone"),
    *("model_ema", "state_dict_ema", "ema", "anything_else"),
]


def _marked(vit, mark):
    return {key: torch.full_like(value, mark) for key, value in vit.items()}


def _optimizer(vit):
    state = {i: {"step": 3, "exp_avg": value} for i, value in enumerate(vit.values())}
    return {"state": state, "param_groups": [{"lr": 0.1, "params": list(state)}]}


@pytest.mark.parametrize("name", NAMES)
def test_a_container_of_any_usual_name_is_opened(name, saved, vit, equal):
    ckpt = load(saved({"epoch": 3, "optimizer": _optimizer(vit), name: vit, "args": None}))
    assert set(ckpt.keys) == set(vit)
    assert equal(ckpt.tensor("pos_embed"), vit["pos_embed"])
    assert ckpt.metadata["epoch"] == 3


def test_a_bare_state_dict_is_itself(saved, vit):
    ckpt = load(saved(OrderedDict(vit)))
    assert ckpt.keys == tuple(vit)
    assert ckpt.notes == ()


def test_a_bare_state_dict_with_extras_beside_it_is_itself(saved, vit):
    ckpt = load(saved({**vit, "epoch": 3, "optimizer": _optimizer(vit)}))
    assert ckpt.keys == tuple(vit)


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        (("model", "model_ema"), "model"),
        (("model_ema", "model"), "model"),
        (("state_dict_ema", "state_dict"), "state_dict"),
        (("student", "teacher"), "teacher"),
        (("encoder", "target_encoder"), "target_encoder"),
        (("ema", "net"), "net"),
    ],
)
def test_where_there_are_two_a_note_names_both_and_the_user_chooses(present, taken, saved, vit):
    copies = {name: _marked(vit, i) for i, name in enumerate(present)}
    path, other = saved(copies), next(name for name in present if name != taken)
    ckpt = load(path)
    assert ckpt.notes == (f"took {taken!r}; also present: {other!r}; --state-dict-key chooses",)
    assert np.all(ckpt.tensor("pos_embed") == present.index(taken))
    chosen = load(path, state_dict_key=other)
    assert np.all(chosen.tensor("pos_embed") == present.index(other))
    assert chosen.notes == ()


def test_an_average_that_is_none_is_no_choice(saved, vit):
    path = saved({"model": vit, "model_ema": None})
    assert load(path).notes == ()
    with pytest.raises(UsageError, match=r"'model_ema' in .* holds no tensors. State dicts: model"):
        load(path, state_dict_key="model_ema")


def test_containers_lie_within_containers(saved, vit):
    inner = {"state_dict": _marked(vit, 1), "state_dict_ema": _marked(vit, 2)}
    path = saved({"checkpoint": {"model": inner, "epoch": 5}})
    ckpt = load(path)
    assert np.all(ckpt.tensor("pos_embed") == 1)
    assert ckpt.metadata["epoch"] == 5
    assert "took 'checkpoint'" in ckpt.notes
    deep = load(path, state_dict_key="checkpoint.model.state_dict_ema")
    assert np.all(deep.tensor("pos_embed") == 2)
    assert deep.keys == tuple(vit)


def test_an_unknown_key_is_answered_with_what_there_is(saved, vit):
    path = saved({"model": vit, "model_ema": vit, "optimizer": _optimizer(vit)})
    with pytest.raises(
        UsageError,
        match=r"Unknown state dict 'model_emma'. Did you mean 'model_ema' or 'model'\? "
        "All: model, model_ema.",
    ):
        load(path, state_dict_key="model_emma")


def test_a_common_prefix_of_names_is_a_state_dict_too(saved, vit):
    both = {f"teacher.backbone.{k}": v for k, v in _marked(vit, 1).items()}
    both |= {f"student.backbone.{k}": v for k, v in _marked(vit, 2).items()}
    path = saved({"model": both})
    assert np.all(load(path).tensor("pos_embed") == 1)
    assert "took 'teacher'; also present: 'student'; --state-dict-key chooses" in load(path).notes
    chosen = load(path, state_dict_key="student")
    assert np.all(chosen.tensor("pos_embed") == 2)
    assert chosen.stored_key("pos_embed") == "student.backbone.pos_embed"
    assert set(chosen.keys) == set(vit)


def test_an_optimizer_is_never_taken_for_weights(saved, vit):
    with pytest.raises(UnreadableCheckpoint, match=r"holds no tensors \(it holds: optimizer, ep"):
        load(saved({"optimizer": _optimizer(vit), "epoch": 3}))


@pytest.mark.parametrize("value", [{}, [], 3, "text", None, {"model": {"depth": 12}}, [1, 2]])
def test_a_file_without_tensors_says_what_it_holds(value, saved):
    with pytest.raises(UnreadableCheckpoint, match=r"holds no tensors .*Expected a state dict"):
        load(saved(value))


def test_a_lone_tensor_is_taken_for_the_table(saved):
    ckpt = load(saved(torch.nn.Parameter(torch.ones(1, 13, 8))))
    assert ckpt.keys == ("pos_embed",)
    assert ckpt.notes == ("a lone tensor is taken for pos_embed",)


def test_a_nest_of_parameters_is_flattened_with_dots(saved):
    nest = {
        "patch_embed": {"proj": {"weight": torch.ones(8, 3, 4, 4)}},
        "blocks": [{"norm1": {"weight": torch.ones(8)}}, {"norm1": {"weight": torch.zeros(8)}}],
        "pos_embed": torch.ones(1, 13, 8),
    }
    ckpt = load(saved(nest))
    assert set(ckpt.keys) == {
        "patch_embed.proj.weight",
        "blocks.0.norm1.weight",
        "blocks.1.norm1.weight",
        "pos_embed",
    }


def test_of_unknown_containers_the_larger_is_taken_with_a_note(saved, vit):
    small = {"head.weight": torch.ones(3, 4)}
    ckpt = load(saved({"classifier": small, "trunk_weights": vit}))
    assert set(ckpt.keys) == set(vit)
    assert ckpt.notes == (
        "took 'trunk_weights'; also present: 'classifier'; --state-dict-key chooses",
    )


def test_lightning_files_and_their_hyper_parameters_are_read(saved, vit):
    contents = {
        "state_dict": {f"model.{key}": value for key, value in vit.items()},
        "hyper_parameters": {"img_size": [48, 64], "patch_size": 16},
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.1)}},
        "optimizer_states": [_optimizer(vit)],
        "loops": {"fit_loop": {}},
        "pytorch-lightning_version": "2.1",
    }
    ckpt = load(saved(contents))
    assert set(ckpt.keys) == set(vit)
    assert ckpt.hints.img_size == (48, 64)
    assert ckpt.hints.patch_size == (16, 16)


def test_arguments_beside_and_above_the_weights_are_kept(saved, vit):
    args = argparse.Namespace(join_type="LaPE", model="deit_t")
    ckpt = load(saved({"model": {"state_dict": vit}, "args": args}))
    assert ckpt.metadata["args"] == {"join_type": "LaPE", "model": "deit_t"}
    assert ckpt.hints.join == "lape"
