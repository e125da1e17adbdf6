"""`pe_inspect.evaluate`: what is counted, on which images, and what stops it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import ROUNDING, assert_close
from torch.nn import functional

import pe_inspect as pei
from pe_inspect.analysis.evaluate import PairedCounts
from pe_inspect.data import Dataset, Split
from pe_inspect.data.dataset import FileSplit
from pe_inspect.errors import UsageError
from pe_inspect.evaluation import images as _images
from pe_inspect.evaluation import run
from pe_inspect.live.change import NotApplicable

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


@pytest.fixture(scope="module")
def learned(lively):
    return lively("learned")


@pytest.fixture(scope="module")
def checkpoint(learned, as_checkpoint):
    return as_checkpoint(learned, name="noise", mean=MEAN, std=STD)


def by_a_loop(model, dataset, size=(12, 20)):
    """A few lines: resize, normalise, run, count."""
    raw = torch.from_numpy(dataset.test.images).float()
    labels = torch.from_numpy(dataset.test.labels)
    if size != (12, 20):
        raw = functional.interpolate(raw, size, mode="bicubic", antialias=True).clamp(0, 255)
    shape = (1, 3, 1, 1)
    images = (raw / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
    with torch.no_grad():
        logits = model(images)
    order = logits.argsort(dim=1, descending=True)
    top5 = (order[:, :5] == labels[:, None]).any(dim=1)
    loss = functional.cross_entropy(logits, labels)
    return (order[:, 0] == labels).float().mean(), top5.float().mean(), loss


@pytest.mark.parametrize("batch_size", [None, 4, 100])
def test_the_plain_model_is_counted_as_a_loop_counts(learned, checkpoint, noise, batch_size):
    dataset = noise(count=11)
    found = pei.evaluate(checkpoint, dataset, batch_size=batch_size).plain
    top1, top5, loss = by_a_loop(learned, dataset)
    assert found.count == 11
    assert_close([found.top1, found.top5, found.loss], [top1, top5, loss], operations=32)


def test_other_sizes_are_resized_from_uint8(learned, checkpoint, noise):
    dataset = noise(count=11)
    found = pei.evaluate(checkpoint, dataset, res=[(20, 12), 16])
    for row, size in zip(found.rows[1:], [(20, 12), (16, 16)]):
        assert (row.res, row.grid_size) == (size, (size[0] // 4, size[1] // 4))
        top1, _, loss = by_a_loop(learned, dataset, size)
        np.testing.assert_allclose([row.top1, row.loss], [top1, loss], rtol=1e-4)
    notes = " ".join(found.notes)
    assert "images of 12×20 pixels were resized from uint8 by bicubic" in notes
    assert "native is the live model's own rule: the table is resampled as timm" in notes


def test_all_methods_are_counted_once_a_plain_one(checkpoint, noise, monkeypatch):
    counted = []
    count = run._count
    monkeypatch.setattr(run, "_count", lambda *a: counted.append(a[0].method) or count(*a))
    found = pei.evaluate(checkpoint, noise(), res=[(24, 40), (12, 20)], method="all")
    assert found.sizes == ((12, 20), (24, 40))  # at its own size every method is the identity
    assert {"native", "bicubic", "bicubic-aa", "nearest", "spline"} <= set(found.methods)
    assert not {"timm", "deit"} & set(found.methods)
    (also,) = [note for note in found.notes if note.startswith("bicubic-aa is also what ")]
    assert " timm," in also
    by_name = {row.method: row for row in found.rows}
    assert by_name["native"].loss == pytest.approx(by_name["bicubic-aa"].loss, rel=ROUNDING)
    assert by_name["nearest"].loss == by_name["nearest-exact"].loss  # of twice the patches
    assert "nearest-exact" not in counted


def test_named_methods_keep_their_names(checkpoint, noise):
    found = pei.evaluate(checkpoint, noise(), res=[16], method="dinov2, jax")
    assert found.methods == ("native", "dinov2", "jax")
    rules = ["own", "own", "scale-factor+0.1", "zoom"]
    assert [row.rule for row in found.rows] == rules


def test_differences_are_counted_image_by_image(checkpoint, noise, monkeypatch):
    right = {
        ("plain", "native", 12): [1, 1, 0, 0, 1], ("removed", "native", 12): [1, 0, 0, 0, 0],
        ("plain", "native", 16): [0, 1, 1, 0, 0], ("plain", "nearest", 16): [1, 1, 0, 1, 0],
    }  # fmt: skip
    monkeypatch.setattr(run, "_count", lambda asked, *_: run.Counts(
        torch.tensor(right[asked.condition, asked.method, asked.res[0]]).bool(), 5, 1.0
    ))  # fmt: skip
    found = pei.evaluate(checkpoint, noise(), res=[16], method="nearest", remove=True)
    changes = [(row.correct, row.gained, row.lost) for row in found.rows]
    assert changes == [(3, 0, 0), (1, 0, 2), (2, 1, 2), (3, 1, 1)]  # over the plain model at 12
    beside = [row.over_native for row in found.rows]
    assert beside == [None, None, None, PairedCounts(3, 2, 1, 5)]  # over the own rule at 16


def test_changes_have_a_row_each_and_equal_ones_are_counted_once(checkpoint, noise):
    found = pei.evaluate(
        checkpoint, noise(), alpha=(1, 0.5, 0), shuffle=True, remove=True, permute_patches=True
    )
    names = ["plain", "scaled by 1", "scaled by 0.5", "scaled by 0", "shuffled", "removed",
             "patches permuted"]  # fmt: skip
    assert [row.name for row in found.rows] == names
    by_name = {row.name: row for row in found.rows}
    assert by_name["scaled by 1"].loss == by_name["plain"].loss
    assert by_name["scaled by 0"].loss == by_name["removed"].loss
    assert len({round(row.loss, 9) for row in found.rows}) == 5


def test_a_network_is_asked_for_another_grid_as_the_live_model_asks_it(
    lively, as_checkpoint, noise
):
    checkpoint = as_checkpoint(lively("rel_bias_mlp"), mean=MEAN, std=STD)
    found = pei.evaluate(checkpoint, noise(), res=[16], method="cpb,cpb-rescaled,nearest")
    own, same, rescaled, nearest = (row for row in found.rows if row.res == (16, 16))
    assert (own.method, same.method, rescaled.method) == ("native", "cpb", "cpb-rescaled")
    assert same.loss == pytest.approx(own.loss, rel=4 * ROUNDING)
    assert len({round(row.loss, 4) for row in (own, rescaled, nearest)}) == 3


@pytest.mark.parametrize(
    ("scheme", "asked", "reason"),
    [
        ("none", {"remove": True}, "removed at 12×20: not evaluated: this model has no position"),
        ("peg", {"shuffle": True}, "shuffled at 12×20: not evaluated: PEG reads positions off"),
        ("none", {"res": [16], "method": "timm"}, "timm: there is no position embedding to"),
        ("relative", {"res": [16], "method": "all"}, "all was left out: Nothing is to be done:"),
    ],
)
def test_what_has_no_meaning_has_no_row_but_a_note(
    lively, as_checkpoint, noise, scheme, asked, reason
):
    found = pei.evaluate(as_checkpoint(lively(scheme), mean=MEAN, std=STD), noise(), **asked)
    assert any(note.startswith(reason) for note in found.notes), found.notes
    assert {row.condition for row in found.rows} == {"plain"}
    assert {row.method for row in found.rows} == {"native"}


@pytest.fixture
def eleven_rows(lively, as_checkpoint):
    """11×3 patches of 4 pixels, of which `scale_factor` makes 14 rows where 15 are asked for."""
    return as_checkpoint(lively("learned", img_size=(44, 12)), mean=MEAN, std=STD)


def test_a_method_that_fails_at_some_sizes_has_its_rows_at_the_others(eleven_rows, noise):
    asked = {"res": [(60, 12), (24, 40)], "method": "scale-factor"}
    found = pei.evaluate(eleven_rows, noise(44, 12), **asked)
    assert [row.res for row in found.rows if row.method == "scale-factor"] == [(24, 40)]
    said = "scale-factor was left out: --method scale-factor: scale_factor=15/11 makes 14 rows"
    assert any(note.startswith(said) for note in found.notes)


def test_a_method_that_fails_at_every_size_is_refused(eleven_rows, noise, monkeypatch):
    monkeypatch.setattr(run, "_count", None)
    with pytest.raises(UsageError, match="scale_factor=15/11 makes 14 rows of 11, not 15"):
        pei.evaluate(eleven_rows, noise(44, 12), res=[(60, 12)], method="nearest,scale-factor")


def test_where_nothing_is_resampled_a_method_is_left_out_as_interpolate_does(
    lively, as_checkpoint, noise
):
    found = pei.evaluate(as_checkpoint(lively("peg")), noise(), res=[16], method="levit")
    assert "levit was left out: This embedding is computed from the input" in " ".join(found.notes)


def test_at_its_own_size_a_method_has_no_row_and_a_note(checkpoint, noise):
    said = "at 12×20 pixels, the model's own size, every method is the identity"
    found = pei.evaluate(checkpoint, noise(), res=[(12, 20)], method="bicubic")
    assert [row.method for row in found.rows] == ["native"]
    assert said in found.notes
    assert said not in pei.evaluate(checkpoint, noise(), res=[(12, 20)]).notes


def test_lapes_bias_is_not_evaluated_at_another_size(lively, as_checkpoint, noise):
    checkpoint = as_checkpoint(lively("rel_bias_2d", "lape"), mean=MEAN, std=STD)
    found = pei.evaluate(checkpoint, noise(), res=[16], method="all")
    assert len(found.rows) == 1
    assert "at 16×16 pixels nothing was evaluated: the norm over this bias" in " ".join(found.notes)


def test_without_positions_permuted_patches_change_nothing(lively, as_checkpoint, noise):
    found = pei.evaluate(as_checkpoint(lively("none")), noise(), permute_patches=True)
    assert found.pe is None
    plain, permuted = found.rows
    assert permuted.loss == pytest.approx(plain.loss, rel=1e-5)


def test_a_limit_draws_images_with_the_seed(checkpoint, noise):
    dataset = noise(count=60)
    first, again, other = (
        pei.evaluate(checkpoint, dataset, limit=20, seed=seed) for seed in (0, 0, 1)
    )
    assert first.plain.count == 20
    assert first.plain.loss == again.plain.loss != other.plain.loss
    assert "20 of 60 test images were drawn (--limit)" in first.notes


def test_permuted_patches_are_the_same_whatever_the_batch_size(checkpoint, noise):
    losses = [
        pei.evaluate(checkpoint, noise(), batch_size=size, permute_patches=True).rows[1].loss
        for size in (2, 9)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=ROUNDING)


def test_permuting_moves_whole_patches():
    image = torch.arange(2 * 6 * 8).float().reshape(1, 2, 6, 8)
    order = torch.tensor([[3, 0, 1, 2]])
    moved = _images.permute_patches(image, (3, 4), order)
    expected = torch.cat(
        [torch.cat([image[:, :, 3:, 4:], image[:, :, :3, :4]], 3),
         torch.cat([image[:, :, :3, 4:], image[:, :, 3:, :4]], 3)], 2
    )  # fmt: skip
    assert torch.equal(moved, expected)


def test_progress_runs_from_a_batch_to_the_whole(checkpoint, noise):
    told = []
    pei.evaluate(checkpoint, noise(), batch_size=3, remove=True, progress=told.append)
    shares = [now.share for now in told]
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (6, pytest.approx(1.0))
    assert (told[0].what, told[-1].what) == ("plain at 12×20 by native", "removed at 12×20")


def test_normalisation_is_as_said_else_the_configs_else_a_guess_that_is_noted(
    learned, as_checkpoint, checkpoint, noise
):
    dataset = noise()
    said = pei.evaluate(checkpoint, dataset, mean=[0, 0, 0], std=[1, 1, 1])
    assert said.parameters["normalised_by"] == "--mean, --std"
    assert pei.evaluate(checkpoint, dataset).parameters["mean"] == MEAN
    guessed = pei.evaluate(as_checkpoint(learned), dataset)
    assert guessed.parameters["mean"] == list(dataset.mean)
    assert any(
        "is not said anywhere: the mean and σ of the images of noise were taken" in note
        for note in guessed.notes
    )


def test_a_dataset_is_named_by_the_config_or_by_its_folder(learned, as_checkpoint, tmp_path):
    from PIL import Image

    for split in ("train", "test"):
        for k in range(7):
            folder = tmp_path / "set" / split / f"class {k}"
            folder.mkdir(parents=True)
            Image.new("RGB", (20, 12), (k * 30, 0, 0)).save(folder / "one.png")
    name = f"imagefolder:{tmp_path / 'set'}"
    by_config = pei.evaluate(as_checkpoint(learned, name=name, mean=MEAN, std=STD))
    assert by_config.plain.count == 7
    assert pei.evaluate(as_checkpoint(learned), name).parameters["data"] == name
    with pytest.raises(UsageError, match="cifar10-jpeg"):
        pei.evaluate(as_checkpoint(learned), f"cifar10-jpeg:{tmp_path}")


def test_images_on_the_disk_are_decoded_at_every_size(checkpoint, tmp_path):
    from PIL import Image

    random, files = np.random.default_rng(0), []
    for k in range(6):
        files.append(tmp_path / f"{k}.png")
        Image.fromarray(random.integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(files[-1])
    split = FileSplit(files, np.arange(6), (12, 20))
    dataset = Dataset("disk", "disk", split, split, tuple("abcdefg"), notes=("read slowly",))
    found = pei.evaluate(checkpoint, dataset, res=[(24, 40)], limit=4, batch_size=3)
    assert [row.count for row in found.rows] == [4, 4]
    assert "read slowly" in found.notes
    assert any("read from their files, and the middle resized" in n for n in found.notes)
    drawn = np.sort(np.random.default_rng(0).choice(6, 4, replace=False))
    losses = {}
    for share in (0.875, 0.5, 1.0):
        images = FileSplit([files[k] for k in drawn], drawn, (24, 40), share).images
        held = replace(dataset, test=Split(images, drawn))
        losses[share] = pei.evaluate(checkpoint, held, res=[(24, 40)]).rows[1].loss
    assert losses[0.875] == pytest.approx(found.rows[1].loss, rel=ROUNDING)
    asked = pei.evaluate(checkpoint, dataset, res=[(24, 40)], limit=4, crop_pct=0.5)
    assert asked.rows[1].loss == pytest.approx(losses[0.5], rel=ROUNDING)
    assert asked.parameters["crop_pct"] == 0.5
    config = {**checkpoint.metadata["config"], "recipe": {"crop_pct": 1.0}}
    trained = replace(checkpoint, metadata={**checkpoint.metadata, "config": config})
    as_trained = pei.evaluate(trained, dataset, res=[(24, 40)], limit=4)
    assert as_trained.rows[1].loss == pytest.approx(losses[1.0], rel=ROUNDING)
    assert len({round(loss, 4) for loss in losses.values()}) == 3


def few_classes(dataset: Dataset) -> Dataset:
    labels = dataset.test.labels % 4
    split = Split(dataset.test.images, labels)
    return replace(dataset, train=split, test=split, classes=dataset.classes[:4])


def test_a_model_of_few_classes_has_no_top_five(lively, as_checkpoint, noise):
    model = lively("learned", num_classes=4)
    found = pei.evaluate(as_checkpoint(model), few_classes(noise()))
    assert np.isnan(found.plain.top5)
    assert "top5" not in found.summary()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": None}, "does not say which images it is for. Pass --data NAME"),
        ({"res": [18]}, "--res 18 is no whole number of 4-pixel patches: the nearest are 16 and"),
        ({"res": [2]}, "--res 2 is smaller than one 4-pixel patch"),
        ({"mean": [0.5] * 3}, "Pass --mean and --std together"),
        ({"mean": [0.5], "std": [0.5]}, "need a number for each of the 3 channels"),
        ({"mean": [0.5] * 3, "std": [0.5, 0, 0.5]}, "and a positive --std"),
        ({"method": "bicubik", "res": [16]}, "Unknown method 'bicubik'. Did you mean 'bicubic'"),
        ({"method": " , "}, "--method names no method"),
        ({"method": "bicubic"}, "--method bicubic is how positions come to another size, and none"),
        ({"method": "all"}, "Pass --res 24,32,48 with it, or leave --method out."),
        ({"method": "levit", "res": [16]}, "--method levit is for bias, and this embedding (learn"),
        ({"method": "bicubic,levit", "res": [16]}, "--method levit is for bias, and this"),
        ({"method": "levit", "res": [(12, 20)]}, "--method levit is for bias, and this"),
        ({"crop_pct": 87.5}, "--crop-pct is 87.5; it must be above 0 and at most 1"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used here"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_runs(
    learned, as_checkpoint, noise, monkeypatch, change, message
):
    monkeypatch.setattr(run, "_count", None)
    arguments = {"data": noise(), **change}
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        pei.evaluate(as_checkpoint(learned), **arguments)


def test_other_classes_and_other_channels_are_named_with_both_numbers(checkpoint, noise):
    with pytest.raises(UsageError, match="tells 7 classes apart, and noise has 4"):
        pei.evaluate(checkpoint, few_classes(noise()))
    with pytest.raises(UsageError, match="takes images of 3 channels, and those of noise have 1"):
        pei.evaluate(checkpoint, noise(channels=1))


def test_a_condition_that_does_not_apply_is_a_usage_error():
    assert issubclass(NotApplicable, UsageError)


def test_a_size_that_no_memory_holds_is_refused_ahead_of_it(checkpoint, noise, monkeypatch):
    monkeypatch.setattr(_images, "available_memory", lambda: 2**30)
    monkeypatch.setattr(run, "_count", None)
    with pytest.raises(UsageError) as caught:
        pei.evaluate(checkpoint, noise(count=9), res=[16, (100_000, 10_000)], batch_size=4)
    assert str(caught.value) == (
        "A batch of 4 images at --res 100000x10000 would take 134.1 GiB of memory; the bound is "
        "0.5 GiB, half of what is free. Pass a smaller --res or --batch-size."
    )
