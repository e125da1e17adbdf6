"""Every number of `evaluate`, against a loop that runs the model and counts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis.made import DINOV2, dinov2
from closeness import ROUNDING
from made_models import checkpoint_of, lively_model, random_images
from torch.nn import functional

import pe_inspect as pei
from pe_inspect.loading import load
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.loading.hints import hints_from

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])
Z = 1.959963984540054
PATCH, GRID = 4, (3, 5)
SIZE = (24, 16)


def images_of(dataset, size=None):
    raw = torch.from_numpy(dataset.test.images).float()
    if size:
        raw = functional.interpolate(raw, size, mode="bicubic", antialias=True).clamp(0, 255)
    return (raw / 255 - MEAN[:, None, None]) / STD[:, None, None]


def permuted(images, grid=GRID, seed=0):
    """The patches of each image trade places: one order an image, by sorting random numbers."""
    rows, columns = grid
    random = torch.Generator().manual_seed(seed)
    orders = torch.rand(len(images), rows * columns, generator=random).argsort(dim=1)
    moved = torch.empty_like(images)
    for image, order, into in zip(images, orders, moved):
        for place, source in enumerate(order.tolist()):
            (y, x), (b, a) = divmod(place, columns), divmod(source, columns)
            cut = [slice(PATCH * k, PATCH * (k + 1)) for k in (y, x, b, a)]
            into[:, cut[0], cut[1]] = image[:, cut[2], cut[3]]
    return moved


@torch.no_grad()
def logits_of(model, images, factor=1.0, order=None):
    """The model's logits with its patches' positions scaled or in another order."""
    table = model.pos_embed
    kept, prefix = table.clone(), table.shape[1] - GRID[0] * GRID[1]
    patches = kept[:, prefix:] if order is None else kept[:, prefix:][:, order]
    table[:, prefix:] = factor * patches
    found = model(images)
    table.copy_(kept)
    return found


def counted(logits, labels):
    """Which are correct, the share among the first five, and the mean loss."""
    labels = torch.from_numpy(labels)
    ranked = logits.argsort(dim=1, descending=True)
    top5 = (ranked[:, :5] == labels[:, None]).any(dim=1).float().mean()
    surprise = -logits.double().softmax(dim=1)[torch.arange(len(labels)), labels].log()
    return (ranked[:, 0] == labels).numpy(), float(top5), float(surprise.mean())


def wilson(share, count):
    """The roots of (p̂ − p)² = z²·p(1 − p)/N."""
    spread = Z**2 / count
    return np.sort(np.roots([1 + spread, -(2 * share + spread), share**2]).real)


def by_hand(logits, labels):
    """The summary, from the logits of every condition by name."""
    (hits, top5, loss), others = counted(logits["top1"], labels), dict(logits)
    del others["top1"]
    top1, count = hits.mean(), len(hits)
    low, high = wilson(top1, count)
    shares = {name: counted(found, labels)[0].mean() for name, found in others.items()}
    permuted_share = shares.get("top1_permuted")
    fragile = {} if permuted_share is None else {"fragility_permuted": 1 - permuted_share / top1}
    return {
        "num_images": count, "top1": top1, "top1_low": low, "top1_high": high,
        "top1_standard_error": np.sqrt(top1 * (1 - top1) / count), "top5": top5, "loss": loss,
        **shares, **fragile,
    }  # fmt: skip


def assert_equal(found, expected, rel=32 * ROUNDING):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=rel, abs=ROUNDING), name


@pytest.fixture(scope="module", params=["oblong", "one strong channel"])
def asked(request):
    """A model of 3×5 patches, images that it gets right about half of the time, and the answer."""
    model, dataset = lively_model("learned"), random_images(count=40)
    if request.param == "one strong channel":
        with torch.no_grad():
            model.pos_embed[:, :, 3] *= 100
    right = logits_of(model, images_of(dataset)).argmax(dim=1).numpy()
    labels = np.where(np.arange(40) % 5 < 3, right, dataset.test.labels)
    dataset = replace(dataset, test=replace(dataset.test, labels=labels))
    checkpoint = checkpoint_of(model, mean=MEAN.tolist(), std=STD.tolist())
    found = pei.evaluate(
        checkpoint, dataset, res=[SIZE], alpha=[0.5], shuffle=True, remove=True,
        permute_patches=True, method="bicubic",
    )  # fmt: skip
    return model, dataset, found


def resized(model, size, *, antialias):
    """The same model with its table on another grid: timm's rule, or plain bicubic."""
    larger = lively_model("learned", img_size=size)
    state = model.state_dict()
    rows = state["pos_embed"][0, model.pos_embed.shape[1] - GRID[0] * GRID[1] :]
    grid = (size[0] // PATCH, size[1] // PATCH)
    table = functional.interpolate(
        rows.T.reshape(1, -1, *GRID), grid, mode="bicubic", antialias=antialias
    )[0].flatten(1).T  # fmt: skip
    prefix = state["pos_embed"][:, : -GRID[0] * GRID[1]]
    larger.load_state_dict({**state, "pos_embed": torch.cat([prefix, table[None]], dim=1)})
    return larger


def test_every_number_of_the_summary_follows_from_the_logits(asked):
    model, dataset, found = asked
    images, order = images_of(dataset), np.random.default_rng(0).permutation(15)
    logits = {
        "top1": model(images).detach(),
        "top1_alpha_0.5": logits_of(model, images, 0.5),
        "top1_shuffled": logits_of(model, images, order=order),
        "top1_removed": logits_of(model, images, 0.0),
        "top1_permuted": model(permuted(images)).detach(),
        "top1_at_24x16": resized(model, SIZE, antialias=True)(images_of(dataset, SIZE)).detach(),
    }
    expected = by_hand(logits, dataset.test.labels)
    assert 0.5 < expected["top1"] < 1
    assert len({round(value, 6) for value in expected.values()}) > 7
    assert_equal(found.summary(), expected)


def test_every_difference_is_of_the_same_images(asked):
    model, dataset, found = asked
    images, labels = images_of(dataset), dataset.test.labels
    plain = counted(model(images).detach(), labels)[0].astype(int)
    removed = counted(logits_of(model, images, 0.0), labels)[0].astype(int)
    at_size = images_of(dataset, SIZE)
    own, bicubic = (
        counted(resized(model, SIZE, antialias=a)(at_size).detach(), labels)[0].astype(int)
        for a in (True, False)
    )
    rows = {(row.condition, row.method, row.res): row for row in found.rows}
    for key, hits, over in (
        (("removed", "native", (12, 20)), removed, None),
        (("plain", "native", SIZE), own, None),
        (("plain", "bicubic", SIZE), bicubic, own),
    ):
        pairs = [(rows[key].over_plain, plain), (rows[key].over_native, over)]
        for found_pairs, reference in pairs if over is not None else pairs[:1]:
            gap = hits - reference
            assert found_pairs.difference == pytest.approx(gap.mean())
            assert found_pairs.standard_error == pytest.approx(gap.std() / np.sqrt(len(gap)))
            assert (found_pairs.gained, found_pairs.lost) == ((gap > 0).sum(), (gap < 0).sum())


@pytest.mark.sweep
def test_dinov2_with_a_classifier_is_counted_as_transformers_own_model_counts():
    transformers = pytest.importorskip("transformers")
    dinov2()  # skips where it is not beside the checkout
    said = json.loads((DINOV2 / "config.json").read_text())
    said |= {"architectures": ["Dinov2ForImageClassification"], "num_labels": 7}
    backbone = load(str(DINOV2))
    torch.manual_seed(0)
    state = {f"dinov2.{key}": torch.from_numpy(np.array(backbone.tensor(key))).float()
             for key in backbone}  # fmt: skip
    state |= {"classifier.weight": torch.randn(7, 768), "classifier.bias": torch.randn(7)}
    plain = Checkpoint.from_state_dict(state, source="dinov2")
    checkpoint = replace(plain, hints=hints_from(said, "config.json"), metadata={"config": said})
    dataset = random_images(28, 42, count=2)

    found = pei.evaluate(checkpoint, dataset, res=[(56, 84)], mean=MEAN.tolist(), std=STD.tolist())

    config = transformers.Dinov2Config(**{k: v for k, v in said.items() if k != "model_type"})
    model = transformers.Dinov2ForImageClassification.from_pretrained(
        None, config=config, state_dict=state
    ).eval()
    with torch.no_grad():
        plain, small = (model(images_of(dataset, size)).logits for size in ((518, 518), (56, 84)))
    expected = by_hand({"top1": plain}, dataset.test.labels)
    expected["top1_at_56x84"] = counted(small, dataset.test.labels)[0].mean()
    assert_equal(found.summary(), expected, rel=1e-4)
