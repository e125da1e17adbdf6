"""`--expect N` keeps what the file shows, and asserts nothing that the number does not tell."""

from __future__ import annotations

import numpy as np
import pytest

import pe_inspect
from pe_inspect.diagnosis.checks import checks_of

WIDTH = 8


def trained(rows, *, grid, prefix=1, detection=0, mel=False):
    """A file whose table is smooth, whose tokens are named, and whose grid is stated."""
    rng = np.random.default_rng(0)
    y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    angles = np.outer(y, np.linspace(0.3, 1, WIDTH)) + np.outer(x, np.linspace(0.2, 0.7, WIDTH))
    table = np.concatenate([rng.standard_normal((prefix, WIDTH)), np.sin(angles),
                            rng.standard_normal((detection, WIDTH))])  # fmt: skip
    assert len(table) == rows
    kernel = (WIDTH, 1 if mel else 3, 16, 16)
    state = {
        "pos_embed": table[None],
        "patch_embed.proj.weight": rng.standard_normal(kernel),
        "blocks.0.norm1.weight": 1 + rng.standard_normal(WIDTH),
        "blocks.0.norm1.bias": rng.standard_normal(WIDTH),
    }
    tokens = {"cls_token": min(prefix, 1), "reg_token": max(prefix - 1, 0), "det_token": detection}
    for name, count in tokens.items():
        if count:
            state[name] = rng.standard_normal((1, count, WIDTH))
    hints = pe_inspect.Hints(grid_size=grid, num_prefix_tokens=prefix)
    return pe_inspect.Checkpoint.from_state_dict(
        {name: value.astype(np.float32) for name, value in state.items()}, source="x", hints=hints
    )


def told(checkpoint, rows):
    (finding,) = [
        each
        for each in pe_inspect.doctor(checkpoint, expect=rows).findings
        if each.code == "mismatch-rows"
    ]
    seen = finding.evidence
    asserted = seen.get("expected_grid_size")
    if asserted is not None:
        return (seen["expected_num_prefix_rows"], *asserted), finding
    return [(each["num_prefix_rows"], *each["grid_size"]) for each in seen["readings"]], finding


@pytest.mark.parametrize(
    ("given", "rows", "expected"),
    [
        ((197, {"grid": (14, 14)}), 577, (1, 24, 24)),
        ((197, {"grid": (14, 14)}), 196, (0, 14, 14)),
        ((193, {"grid": (12, 16)}), 49, (1, 6, 8)),
        ((96, {"grid": (8, 12), "prefix": 0}), 160, (0, 8, 20)),
        ((261, {"grid": (16, 16), "prefix": 5}), 581, (5, 24, 24)),
        ((1370, {"grid": (37, 37)}), 1374, (5, 37, 37)),
        ((35, {"grid": (4, 6), "detection": 10}), 107, (1, 8, 12)),
    ],
)
def test_one_reading_is_asserted_where_it_alone_keeps_the_grid_the_shape_or_a_side(
    given, rows, expected
):
    found, finding = told(trained(given[0], **given[1]), rows)

    assert found == expected
    assert finding.runs_in in ("shell", "python")


@pytest.mark.parametrize(
    ("given", "rows", "expected"),
    [
        ((197, {"grid": (14, 14)}), 393, [(1, 14, 28), (1, 28, 14)]),
        ((257, {"grid": (16, 16)}), 513, [(1, 16, 32), (1, 32, 16)]),
        ((35, {"grid": (4, 6), "detection": 10}), 47, [(1, 6, 6), (1, 4, 9)]),
        ((261, {"grid": (16, 16), "prefix": 5}), 389, [(5, 16, 24), (5, 24, 16)]),
    ],
)
def test_several_that_keep_as_much_are_listed_and_none_is_asserted(given, rows, expected):
    found, finding = told(trained(given[0], **given[1]), rows)

    assert found[: len(expected)] == expected
    assert finding.runs_in == ""
    assert "the number does not tell which" in finding.message


def test_tokens_are_not_invented_to_keep_a_square():
    """6 + 11×11 keeps the shape of 1 + 4×4, and no model has five registers."""
    found, finding = told(trained(27, grid=(4, 4), detection=10), 137)

    assert found[:2] == [(6, 11, 11), (1, 9, 14)]
    assert "state[" not in finding.mend


def test_a_spectrogram_is_told_to_have_another_length_and_no_image_size():
    from transformers import ASTConfig, ASTModel

    config = ASTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_length=512,
    )  # fmt: skip
    hints = pe_inspect.Hints(grid_size=(12, 50), num_prefix_tokens=2)
    checkpoint = pe_inspect.Checkpoint.from_state_dict(
        ASTModel(config).state_dict(), source="ast", hints=hints
    )

    found, finding = told(checkpoint, 1214)

    assert found == (2, 12, 101)
    assert "the length of the spectrogram differs" in finding.message


def test_what_was_expected_is_among_the_checks_that_are_counted():
    checkpoint = trained(197, grid=(14, 14))
    plain = pe_inspect.doctor(checkpoint)
    asked = pe_inspect.doctor(checkpoint, expect=197, against=checkpoint)

    assert len(asked.checks) == len(plain.checks) + 2
    assert set(asked.checks) - set(plain.checks) == {"expected-fit", "other-model"}
    always = {check.name for check in checks_of("case")} - {"asked-timm", *asked.checks}
    assert always == set()
