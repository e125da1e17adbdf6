from __future__ import annotations

import os

import pytest
import torch
from closeness import assert_close

from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training import Recipe
from pe_inspect.training.hardware import (
    describe_machine,
    find_device,
    find_precision,
    suit_attention,
    versions,
)

CPU = torch.device("cpu")


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "fused"), [(torch.float32, True), (torch.bfloat16, False)])
def test_attention_is_written_out_where_the_fused_kernel_is_slower(
    tiny: Recipe, dtype: torch.dtype, fused: bool
) -> None:
    model = VisionTransformer(tiny.model).eval()
    images = torch.rand(2, 3, 6, 8)
    before = model(images)
    suit_attention(model, CPU, dtype)
    assert {block.attn.fused_attn for block in model.each_block()} == {fused}
    assert_close(model(images), before, operations=32)


def test_a_named_precision_is_taken_and_auto_asks_the_hardware() -> None:
    assert find_precision("float32", CPU) == torch.float32
    assert find_precision("bfloat16", CPU) == torch.bfloat16
    assert find_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    assert find_precision("auto", torch.device("meta")) == torch.float32


def test_the_machine_is_described_by_the_cores_that_worked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert describe_machine(CPU) == "2 CPU cores"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert describe_machine(CPU) == "1 of 2 CPU cores"


def test_auto_is_a_device_that_is_there() -> None:
    assert find_device("auto").type in ("cpu", "cuda")


def test_versions_name_torch_as_it_calls_itself() -> None:
    assert torch.__version__.startswith(versions()["torch"].split("+")[0])
