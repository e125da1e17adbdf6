"""What DeiT III's recipe needs beside DeiT's: LAMB, binary cross-entropy, whole test images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.loss import BinaryCrossEntropy
from timm.optim import create_optimizer_v2
from torch.nn import functional

from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import Recipe, recipes
from pe_inspect.training.losses import binary_cross_entropy, cross_entropy
from pe_inspect.training.optimizer import make_optimizer, parameter_groups

CPU = torch.device("cpu")


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(0))


def mixed() -> torch.Tensor:
    one, other = (
        functional.one_hot(torch.tensor(of), 7) for of in ([0, 3, 3, 6, 2], [1, 3, 0, 5, 4])
    )
    return 0.7 * one + 0.3 * other


def test_a_class_with_any_share_of_a_mixed_image_is_wholly_there(logits: torch.Tensor) -> None:
    theirs = BinaryCrossEntropy(smoothing=0.0, target_threshold=0.0)(logits, mixed())
    assert float(binary_cross_entropy(logits, mixed(), 0.0)) == pytest.approx(float(theirs))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_class_number_is_one_class_that_is_there(logits: torch.Tensor, smoothing: float) -> None:
    labels = torch.tensor([0, 3, 3, 6, 2])
    theirs = BinaryCrossEntropy(smoothing=smoothing)(logits, labels)
    ours = binary_cross_entropy(logits, labels, smoothing)
    assert float(ours) == pytest.approx(float(theirs))
    assert float(ours) != pytest.approx(float(cross_entropy(logits, labels, smoothing)), rel=0.1)


def test_lamb_steps_as_timms_with_decay_for_the_same_weights(tiny: Recipe) -> None:
    recipe = tiny.with_overrides(["optimizer=lamb", "lr=0.01", "weight_decay=0.3"])
    models = []
    for make in (
        lambda model: make_optimizer(model, recipe, CPU),
        lambda model: create_optimizer_v2(
            parameter_groups(model, 0.3), opt="lamb", lr=0.01, eps=1e-8, max_grad_norm=None
        ),
    ):
        torch.manual_seed(0)
        model = VisionTransformer(recipe.model)
        optimizer = make(model)
        images = torch.randn(4, recipe.model.in_chans, *recipe.model.img_size)
        for _ in range(3):
            optimizer.zero_grad()
            model(images).square().mean().backward()
            optimizer.step()
        models.append(model.state_dict())
    assert all(torch.equal(value, models[1][key]) for key, value in models[0].items())


def test_rope_vit_trains_as_its_repository_says() -> None:
    """Source: naver-ai/rope-vit, deit/README.md, and the defaults of its main.py."""
    for scheme in ("axial", "mixed"):
        recipe = recipes[f"rope-vit-s-{scheme}"]
        assert (recipe.epochs, recipe.batch_size, recipe.warmup_epochs) == (400, 8 * 256, 5)
        assert (recipe.optimizer, recipe.lr, recipe.min_lr) == ("lamb", 4e-3, 1e-5)
        assert (recipe.weight_decay, recipe.clip_grad) == (0.03, 1.0)
        assert (recipe.loss, recipe.label_smoothing) == ("bce", 0.0)
        assert (recipe.augment, recipe.color_jitter, recipe.erasing) == ("3-augment", 0.3, 0.0)
        assert (recipe.mixup, recipe.cutmix, recipe.repeats) == (0.8, 1.0, 3)
        assert (recipe.flip, recipe.crop_pct, recipe.model.drop_path_rate) == (True, 1.0, 0.0)


def test_the_share_of_test_images_is_the_recipes(tiny: Recipe, pictures: Path) -> None:
    from pe_inspect.data import load
    from pe_inspect.training.feed import loaders
    from pe_inspect.training.launch import ProcessPlace
    from pe_inspect.training.world import World

    recipe = tiny.with_overrides(["stream=on", "shift=0", "crop_pct=0.5"])
    dataset = load(recipe.data, root=pictures, img_size=recipe.model.img_size, stream="on")
    train, test = loaders(recipe, dataset, World(ProcessPlace(), CPU))
    assert (train.crop_pct, test.crop_pct) == (0.5, 0.5)
