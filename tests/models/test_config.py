"""What cannot be built says why, and what to write instead."""

from __future__ import annotations

import json

import pytest

from pe_inspect.errors import UsageError
from pe_inspect.models import ViTConfig

SHAPE = {"img_size": (12, 32), "patch_size": (4, 8), "embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scheme": "rope_axial", "join": "input"},
            "scheme 'rope_axial' cannot have join 'input'; it can have layer.",
        ),
        (
            {"scheme": "sincos2d", "join": "unshare"},
            "scheme 'sincos2d' cannot have join 'unshare' (it has one table for all); it can have "
            "input or share or lape or pvg or mpvg.",
        ),
        (
            {"join": "pvg", "depth": 1},
            "join 'pvg' begins in the second block and depth is 1; choose depth=2 or more",
        ),
        ({"scheme": "rope_mix"}, "Unknown scheme 'rope_mix'. Did you mean 'rope_mixed'"),
        (
            {"scheme": "sincos2d", "embed_dim": 30},
            "pairs its channels; embed_dim 30 must be a multiple of 4.",
        ),
        (
            {"scheme": "rope_mixed", "embed_dim": 30},
            "divides a head's channels over two axes; embed_dim 30 over num_heads 3 is 10, which "
            "must be a multiple of 4.",
        ),
        (
            {"patch_projection": False},
            "patch_projection is false and embed_dim is 24; a raw patch of 4×8×3 has embed_dim=96.",
        ),
        ({"global_pool": "mean"}, "Unknown global_pool 'mean'. Known: avg, token."),
        ({"class_token": False}, "class_token is false, and global_pool=token reads it; choose"),
        (
            {"distilled": True, "global_pool": "avg"},
            "distilled needs class_token=true and global_pool=token: it is two heads.",
        ),
        ({"reg_tokens": 13}, "reg_tokens is 13, more than the 12 patches; choose at most 12."),
        ({"reg_tokens": -1}, "reg_tokens is -1; it must be 0 or more."),
        ({"drop_path_rate": 1.0}, "drop_path_rate is 1.0; it must be from 0 to below 1."),
        ({"max_relative_distance": 0}, "max_relative_distance is 0; it must be at least 1."),
        ({"peg_kernel": 4}, "peg_kernel is 4; it must be odd, e.g. 3."),
        (
            {"peg_position": 2},
            "peg_position is 2; it must be from -1, ahead of the first block, to 1.",
        ),
    ],
)
def test_an_impossible_model_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ViTConfig(**{**SHAPE, **change})
    assert message in str(caught.value)


def test_a_join_that_is_left_out_is_the_ordinary_one() -> None:
    joins = {"learned": "input", "none": "none", "rope_axial": "layer", "rel_bias_2d": "layer"}
    assert {scheme: ViTConfig(scheme=scheme).join for scheme in joins} == joins


def test_a_plain_model_is_written_as_before_the_other_schemes_came() -> None:
    assert list(ViTConfig(join="lape").to_dict()) == [
        "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads",
        "mlp_ratio", "scheme", "join", "ln_eps",
    ]  # fmt: skip


def test_what_is_not_as_usual_survives_json() -> None:
    config = ViTConfig(scheme="rope_axial", schh_compat=True, reg_tokens=2, rope_theta=100.0)
    saved = json.loads(json.dumps(config.to_dict()))
    assert {"schh_compat", "reg_tokens", "rope_theta"} <= set(saved)
    assert ViTConfig.from_dict(saved) == config
