"""What the doctor finds in a file's names, types and buffers, and what it leaves alone."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
import timm.layers.pos_embed
import torch

from pe_inspect.diagnosis.checks import checks, checks_of
from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.loading.checkpoint import Checkpoint, Hints


def found(state, name=None, metadata=None, **hints):
    checkpoint = Checkpoint.from_state_dict(state, source="x.pth", hints=Hints(**hints))
    if metadata:
        object.__setattr__(checkpoint, "metadata", metadata)
    asked = [checks[name]] if name else checks_of("file")
    return [finding for check in asked for finding in check(checkpoint)]


def table(rows=13, width=16, kind=np.float32):
    values = np.random.default_rng(0).normal(0, 0.05, (1, rows, width))
    return values.astype(np.float32).astype(kind)


def deit(**more):
    return {"pos_embed": table(), "cls_token": np.ones((1, 1, 16), np.float32), **more}


def test_a_plain_file_is_healthy():
    assert found(deit()) == []


# Index buffers


def swin(index, window=(3, 4)):
    rows = (2 * window[0] - 1) * (2 * window[1] - 1)
    stem = "layers.0.blocks.0.attn.relative_position"
    return {f"{stem}_bias_table": table(rows, 3)[0], f"{stem}_index": index}


def looped(window):
    places = [(y, x) for y in range(window[0]) for x in range(window[1])]
    return np.array(
        [
            [
                (qy - ky + window[0] - 1) * (2 * window[1] - 1) + qx - kx + window[1] - 1
                for ky, kx in places
            ]
            for qy, qx in places
        ]
    )


def test_the_right_index_is_healthy():
    assert found(swin(looped((3, 4)))) == []
    assert found(swin(looped((3, 4)).ravel())) == []
    assert found(swin(looped((4, 3)))) == []  # the window that it shows


def test_an_index_that_was_never_filled_points_outside():
    index = looped((3, 3))
    index[2, 1], index[0, 0] = 4_611_686_018_427_387_904, -5
    (finding,) = found(swin(index, (3, 3)))
    assert (finding.code, finding.severity) == ("index-buffer", "error")
    assert finding.message == (
        "layers.0.blocks.0.attn.relative_position_index points outside its table: 2 of 81 entries "
        "are not in 0 … 24 (least -5, largest 4611686018427387904)."
    )
    assert 'k.endswith("relative_position_index")' in finding.mend


def test_an_index_of_zeros_is_not_the_windows():
    (finding,) = found(swin(np.zeros((9, 9), int), (3, 3)))
    assert finding.message == (
        "layers.0.blocks.0.attn.relative_position_index is not the index of a 3×3 window: 80 of 81 "
        "entries differ."
    )


def test_wrong_indices_of_many_blocks_are_one_finding():
    state = swin(np.zeros((9, 9), int), (3, 3))
    more = {key.replace("blocks.0", f"blocks.{i}"): v for key, v in state.items() for i in range(4)}
    (finding,) = found(more)
    assert finding.message.endswith("3 more are wrong too.")
    assert finding.evidence["buffers"] == 4


# Half precision


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_rounded_table_in_a_float32_file_is_found(kind):
    rounded = torch.tensor(table()).to(getattr(torch, kind)).float().numpy()
    (finding,) = found(deit(pos_embed=rounded))
    assert finding.code == "half-precision"
    assert (
        f"Every value of pos_embed is a {kind}, though the file stores float32" in finding.message
    )
    assert "--allow half-precision" in finding.mend


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_file_of_half_precision_says_so_itself_and_is_healthy(kind):
    assert found(deit(pos_embed=torch.tensor(table()).to(kind))) == []


def test_few_or_plain_values_are_not_called_rounded():
    assert found(deit(pos_embed=np.ones((1, 13, 16), np.float32))) == []
    assert found(deit(pos_embed=np.zeros((1, 13, 16), np.float32))) == []


def test_what_float16_could_not_hold_is_an_overflow():
    values = torch.tensor(table())
    values[0, 3, 2] = 1e6
    (finding,) = found(deit(pos_embed=values.half()))
    assert (finding.code, finding.severity) == ("overflow", "error")
    assert finding.message.startswith("1 values of pos_embed are infinite")


def test_an_infinity_in_full_precision_is_no_overflow():
    values = table()
    values[0, 3, 2] = np.inf
    assert found(deit(pos_embed=values)) == []


def test_what_is_too_small_for_float16_is_an_underflow():
    values = torch.tensor(table() * 1e-4).half()
    (finding,) = found(deit(pos_embed=values))
    assert finding.code == "underflow"
    assert finding.evidence["fraction_subnormal"] > 0.9
    assert found(deit(pos_embed=torch.tensor(table() * 1e-4))) == []


# Axes of a fixed table


def mae(grid, width=16):
    y, x = (axis.reshape(-1, 1) for axis in np.indices(grid))
    rates = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    parts = [np.sin(x * rates), np.cos(x * rates), np.sin(y * rates), np.cos(y * rates)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def with_cls(patches):
    return np.concatenate([np.zeros((1, patches.shape[1]), np.float32), patches])[None]


def test_maes_table_is_healthy():
    assert found(deit(pos_embed=with_cls(mae((4, 4))))) == []
    assert found(deit(pos_embed=with_cls(mae((3, 4)))), grid_size=(3, 4)) == []


def test_maes_table_with_its_axes_exchanged_is_found():
    turned = mae((4, 4)).reshape(4, 4, -1).swapaxes(0, 1).reshape(16, -1)
    (finding,) = found(deit(pos_embed=with_cls(turned)))
    assert finding.code == "transposed"
    assert finding.message == (
        "pos_embed holds the sines and cosines of MAE with rows and columns exchanged: it is "
        "y first, halves; theirs is x first, halves."
    )


# Rotary conventions


def dinov3(**more):
    names = {"cls_token": (1, 1, 8), "storage_tokens": (1, 4, 8), "blocks.0.ls1.gamma": (8,)}
    state = {name: np.ones(shape, np.float32) for name, shape in names.items()}
    return {**state, **more}


def periods(base=100.0, count=4):
    return {"rope_embed.periods": (base ** (np.arange(count) / count)).astype(np.float32)}


def config(**said):
    return {"config": {"architecture": "naflexvit_base_patch16_gap", "model_args": said}}


@pytest.mark.parametrize("more", [{}, periods()])
def test_a_dinov3_that_its_config_calls_axial_is_found(more):
    (finding,) = found(dinov3(**more), metadata=config(rope_type="axial", rope_rotate_half=False))
    assert (finding.code, finding.severity) == ("rotary-convention", "error")
    assert (
        "The config says rope_type='axial' and rope_rotate_half=False; the tensors are those of"
        in (finding.message)
    )
    assert finding.evidence["rope_type"] == {"config": "axial", "tensors": "dinov3"}


def test_a_config_that_agrees_is_healthy():
    assert (
        found(dinov3(**periods()), metadata=config(rope_type="dinov3", rope_rotate_half=True)) == []
    )
    assert found(dinov3(), metadata=config(num_classes=0)) == []


def test_learned_frequencies_under_another_rope_type_are_found():
    state = {"rope.freqs": np.ones((2, 3, 2, 4), np.float32)}
    (finding,) = found(state, metadata=config(rope_type="axial"))
    assert finding.evidence["rope_type"]["tensors"] == "mixed"
    assert found(state, metadata=config(rope_mixed_mode=True)) == []


def test_a_config_that_promises_frequencies_needs_them():
    (finding,) = found(deit(), metadata=config(rope_type="mixed"))
    assert "x.pth holds no rope.freqs." in finding.message


@pytest.mark.parametrize("half", [True, False])
def test_the_pairing_of_stored_sines_is_compared(half):
    angles = np.random.default_rng(0).normal(size=(12, 4))
    sines = np.tile(angles, (1, 2)) if half else np.repeat(angles, 2, axis=1)
    state = {f"rope.freqs_{part}": sines.astype(np.float32) for part in ("sin", "cos")}
    assert found(state, metadata=config(rope_rotate_half=half)) == []
    (finding,) = found(state, metadata=config(rope_rotate_half=not half))
    assert finding.evidence["rope_rotate_half"] == {"config": not half, "tensors": half}


def test_periods_of_another_base_are_found():
    assert found(dinov3(**periods(100)), rope_theta=100.0) == []
    (finding,) = found(dinov3(**periods(100)), rope_theta=10000.0)
    assert finding.message == (
        "rope_embed.periods runs over a base of 100; the config says rope_theta=10000."
    )


# The installed timm


@pytest.mark.parametrize(
    ("version", "is_old"),
    [("1.0.30", True), ("0.9.16", True), ("1.0.31", False), ("1.1.0.dev0", False)],
)
def test_an_old_timm_is_named_by_its_version(monkeypatch, version, is_old):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert bool(found(deit(), "old-timm")) is is_old


def test_without_timm_there_is_nothing_to_say(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert found(deit(), "old-timm") == []


def test_a_timm_that_resamples_wrongly_shows_it(monkeypatch):
    file = Checkpoint.from_state_dict(deit())
    assert "old-timm" not in doctor(file, ask_timm=True).summary()
    monkeypatch.setattr(timm.layers.pos_embed, "resample_abs_pos_embed", lambda table, **_: table)
    (finding,) = (f for f in doctor(file, ask_timm=True).findings if f.code == "old-timm")
    assert finding.code == "old-timm"
    assert "returned a 2×8 table unchanged when asked for 4×4" in finding.message


# Two files that have little in common


def against(mine, theirs):
    here, there = (
        Checkpoint.from_state_dict(each, source=name)
        for each, name in ((mine, "here.pth"), (theirs, "there.pth"))
    )
    return [f for f in doctor(here, against=there).findings if f.code.startswith("mismatch")]


def test_files_without_a_common_name_are_said_to_be_unrelated_first():
    found = against(deit(), {"a.weight": table()[0], "b.weight": table()[0]})

    assert found[0].code == "mismatch-name"
    assert found[0].message.startswith("None of the 2 names of here.pth (pos_embed, …) is among")


def test_a_quantised_file_is_told_though_its_shapes_fit():
    kernel = table(8, 16)[0]
    found = against(deit(w=kernel), deit(w=(kernel * 100).astype(np.int8)))

    assert [f.code for f in found] == ["mismatch-type"]
    assert "(1 of the tensors)" in found[0].message
    assert "w is float32 in here.pth, int8 in there.pth" in found[0].message
