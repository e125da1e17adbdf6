"""Hard distillation: the head of the DIST token learns what a teacher says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

import pe_inspect as pei
from pe_inspect.data import load
from pe_inspect.errors import PEInspectError, UsageError
from pe_inspect.training import Recipe, recipes
from pe_inspect.training.loop import Loop

SHIPPED = Path(__file__).parents[2] / "checkpoints"
TEACHER = str(SHIPPED / "digits-lape")


def taught(teacher: str = TEACHER, **model: object) -> Recipe:
    plain = recipes["digits-input"]
    shape = replace(plain.model, distilled=True, **model)
    return replace(plain, model=shape, teacher=teacher, precision="float32", label_smoothing=0.1)


def loop(recipe: Recipe) -> Loop:
    return Loop(recipe, load("digits"), torch.device("cpu"))


def test_the_loss_is_half_the_labels_and_half_the_teacher_s_answers() -> None:
    made = loop(taught())
    images, labels = next(iter(made.train_images.epoch(1)))
    own, dist = made.model.head_logits(images)
    answers = pei.rebuild(pei.load(TEACHER))(images).argmax(dim=1)

    loss = made._loss(images, labels)

    wanted = functional.cross_entropy(own, labels, label_smoothing=0.1)
    wanted = (wanted + functional.cross_entropy(dist, answers)) / 2
    torch.testing.assert_close(loss, wanted)
    assert not torch.equal(answers, labels)


def test_the_teacher_learns_nothing() -> None:
    made = loop(taught())
    before = {k: v.clone() for k, v in made.teacher.model.state_dict().items()}
    made.step(*next(iter(made.train_images.epoch(1))))
    assert all(torch.equal(v, before[k]) for k, v in made.teacher.model.state_dict().items())
    assert not made.teacher.model.training


def test_a_convolutional_network_of_timm_teaches(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 10, "in_chans": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = loop(taught(str(tmp_path)))
    images, _ = next(iter(made.train_images.epoch(1)))
    assert torch.equal(made.teacher.labels(images), network(images).argmax(dim=1))


def test_a_model_without_a_distillation_token_has_no_teacher() -> None:
    with pytest.raises(UsageError, match="--set distilled=true adds one"):
        recipes["digits-input"].with_overrides([f"teacher={TEACHER}"])


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (str(SHIPPED / "cifar10-lape"), r"does not take images of 1×8×8"),
        ("nowhere.pth", r"nowhere\.pth"),
    ],
)
def test_a_teacher_of_something_else_is_refused(teacher: str, message: str) -> None:
    with pytest.raises(PEInspectError, match=message):
        loop(taught(teacher))


def test_a_teacher_of_other_classes_is_refused() -> None:
    recipe = taught(num_classes=7)
    with pytest.raises(UsageError, match="tells 10 classes apart, and the recipe has 7"):
        Loop(recipe, load("digits"), torch.device("cpu"))


def test_deit_s_distilled_recipes_name_their_teacher() -> None:
    distilled = [recipe for recipe in recipes.values() if recipe.model.distilled]
    assert {recipe.name for recipe in distilled if recipe.name.startswith("deit-")} == {
        f"deit-{size}-distilled-{join}" for size in ("ti", "s", "b") for join in ("input", "lape")
    }
    assert {recipe.teacher for recipe in distilled} == {"timm:regnety_160.deit_in1k"}
