"""What a careful training step does: averages, parts, soft targets, seeds, compilers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from pe_inspect.data import load
from pe_inspect.data.dataset import Dataset
from pe_inspect.errors import UsageError
from pe_inspect.models import ViTConfig
from pe_inspect.models.config import SCHEMES
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import Recipe
from pe_inspect.training.feed import evaluated_at_once
from pe_inspect.training.hardware import compiled, exact_algorithms, suits_channels_last
from pe_inspect.training.loop import Loop
from pe_inspect.training.optimizer import parameter_groups

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def halves(pictures: Path) -> Dataset:
    return load("imagefolder:halves", root=pictures)


@pytest.fixture
def loop_of(tiny: Recipe, halves: Dataset) -> Callable[..., Loop]:
    def loop_of(*changes: str) -> Loop:
        return Loop(tiny.with_overrides(changes), halves, CPU)

    return loop_of


def weights(loop: Loop) -> list[torch.Tensor]:
    return [p.detach().clone() for p in loop.model.parameters()]


def test_the_average_is_the_definitions(loop_of: Callable[..., Loop]) -> None:
    loop = loop_of("ema_decay=0.6")
    average = weights(loop)
    for step, _ in enumerate(loop.epoch(1)):
        decay = min(0.6, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights(loop))]
    for ours, defined in zip(loop.product.parameters(), average):
        torch.testing.assert_close(ours.detach(), defined)
    assert loop.product is not loop.model
    assert loop_of().product.training


def test_parts_of_a_batch_have_the_gradient_of_the_whole(loop_of: Callable[..., Loop]) -> None:
    whole, parts = loop_of("clip_grad=0"), loop_of("clip_grad=0", "accumulate=4")
    for one, four in zip(whole.epoch(1), parts.epoch(1)):
        torch.testing.assert_close(one, four)
        for a, b in zip(whole.model.parameters(), parts.model.parameters()):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)
        parts.restore(whole.state(), whole.step_number)


@pytest.mark.parametrize("distilled", ["true", "false"])
def test_soft_targets_are_smoothed_and_averaged_over_heads(
    loop_of: Callable[..., Loop], distilled: str
) -> None:
    loop = loop_of("label_smoothing=0.2", f"distilled={distilled}", "clip_grad=0")
    images, _ = next(loop.test_images.in_order())
    targets = torch.rand(len(images), 2).softmax(dim=1)
    smoothed = 0.8 * targets + 0.1
    heads = loop.model.head_logits(images)
    expected = torch.stack([-(smoothed * h.log_softmax(1)).sum(1).mean() for h in heads]).mean()
    torch.testing.assert_close(loop.step(images, targets), expected.detach())
    assert len(heads) == 1 + (distilled == "true")


def test_clipping_bounds_the_gradient(loop_of: Callable[..., Loop]) -> None:
    loop = loop_of("clip_grad=0.01")
    next(loop.epoch(1))
    norm = torch.stack([p.grad.norm() for p in loop.model.parameters()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_dropout_hangs_on_the_seed_and_the_step_alone(loop_of: Callable[..., Loop]) -> None:
    changes = ("proj_drop_rate=0.3", "drop_path_rate=0.3", "pos_drop_rate=0.1")
    torch.manual_seed(1)
    first = [float(loss) for loss in loop_of(*changes).epoch(1)]
    torch.manual_seed(2)
    second = [float(loss) for loss in loop_of(*changes).epoch(1)]
    assert first == second
    assert first != [float(loss) for loss in loop_of().epoch(1)]


def test_every_embedding_is_spared_the_decay() -> None:
    for scheme, joins in SCHEMES.items():
        for join in joins:
            config = ViTConfig(
                (6, 8), (2, 2), num_classes=2, embed_dim=16, depth=2, num_heads=2,
                scheme=scheme, join=join, reg_tokens=2, distilled=True,
            )  # fmt: skip
            model = VisionTransformer(config)
            names = {id(parameter): name for name, parameter in model.named_parameters()}
            decayed, kept = (
                {names[id(p)] for p in g["params"]} for g in parameter_groups(model, 1)
            )
            assert model.no_weight_decay() <= kept
            assert {"cls_token", "dist_token", "reg_token", "norm.bias"} <= kept
            assert not any("pos_embed" in name and "projection" not in name for name in decayed)
            assert decayed | kept == set(names.values())


def test_a_batch_that_cannot_be_split_says_which_can(loop_of: Callable[..., Loop]) -> None:
    with pytest.raises(UsageError, match=r"accumulate is 3|batch_size 8 cannot be split"):
        loop_of("accumulate=3")


def test_channels_last_trains_the_same(loop_of: Callable[..., Loop]) -> None:
    usual, last = loop_of("channels_last=off"), loop_of("channels_last=on")
    for a, b in zip(usual.epoch(1), last.epoch(1)):
        torch.testing.assert_close(a, b)
    weight = last.model.patch_embed.proj.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert suits_channels_last("auto", torch.device("cuda"))
    assert not suits_channels_last("auto", CPU)


@pytest.mark.parametrize(
    ("asked", "device", "graphed", "mode"),
    [
        ("auto", "cpu", True, None),
        ("off", "cuda", True, None),
        ("on", "cpu", True, "default"),
        ("auto", "cuda", False, "default"),
        ("auto", "cuda", True, "reduce-overhead"),
    ],
)
def test_the_compiler_is_asked_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, asked: str, device: str, graphed: bool, mode: str | None
) -> None:
    modes: list[str] = []
    monkeypatch.setattr("pe_inspect.training.hardware.find_spec", lambda _: object())
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")

    def noted(module: torch.nn.Module, *, mode: str, dynamic: bool) -> torch.nn.Module:
        modes.append(mode)
        return module

    monkeypatch.setattr(torch, "compile", noted)
    compiled(torch.nn.Identity(), asked, torch.device(device), graphed=graphed)
    assert modes == ([mode] if mode else [])


@pytest.mark.parametrize(
    ("device", "triton", "lacking"),
    [
        ("cpu", None, r"a C\+\+ compiler \(my-cxx; CXX names another\)"),
        ("cuda", None, "the package triton"),
        ("cuda", object(), r"a C compiler \(gcc or clang; CC names another\)"),
    ],
)
def test_a_compiler_that_is_not_there_is_named_and_auto_does_without(
    monkeypatch: pytest.MonkeyPatch, device: str, triton: object, lacking: str
) -> None:
    monkeypatch.setattr("pe_inspect.training.hardware.find_spec", lambda _: triton)
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setenv("CXX", "my-cxx")
    monkeypatch.delenv("CC", raising=False)
    module, where = torch.nn.Identity(), torch.device(device)
    expected = rf"compile is 'on', and torch\.compile needs {lacking}: not found here\. Install it"
    with pytest.raises(UsageError, match=expected):
        compiled(module, "on", where, graphed=True)
    assert compiled(module, "auto", where, graphed=True) is module


def test_small_images_are_evaluated_many_at_once_on_a_gpu(tiny: Recipe) -> None:
    gpu = torch.device("cuda")
    assert evaluated_at_once(tiny, CPU) == 8
    assert evaluated_at_once(tiny, gpu) == 2**22 // (6 * 8 * 3)
    assert evaluated_at_once(tiny.with_overrides(["img_size=600x800"]), gpu) == 8


TRACED = """
import torch
from pe_inspect.models.config import SCHEMES, ViTConfig
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.loop import Heads
for scheme in SCHEMES:
    torch.compiler.reset()
    shape = dict(num_classes=2, embed_dim=16, depth=2, num_heads=2, drop_path_rate=0.1)
    model = VisionTransformer(ViTConfig((6, 8), (2, 2), scheme=scheme, **shape)).eval()
    traced = torch.compile(Heads(model), backend="eager", fullgraph=True, dynamic=False)
    images = torch.rand(3, 3, 6, 8)
    torch.testing.assert_close(traced(images)[0], model(images))
"""


@pytest.mark.subprocess
def test_every_scheme_is_one_graph_to_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRACED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_exact_algorithms_are_asked_for_and_given_back() -> None:
    with exact_algorithms(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with exact_algorithms(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_evaluation_is_the_mean_over_all_images(loop_of: Callable[..., Loop]) -> None:
    loop = loop_of("batch_size=3", "accumulate=1")
    measured = loop.evaluate(loop.model.state_dict())
    images, labels = zip(*loop.test_images.in_order())
    with torch.no_grad():
        logits = loop.model.eval()(torch.cat(images))
    loss = functional.cross_entropy(logits, torch.cat(labels))
    assert measured.loss == pytest.approx(float(loss), rel=1e-5)
    assert measured.accuracy == float((logits.argmax(1) == torch.cat(labels)).float().mean())
