"""Layouts that follow no known repository: what structure and values alone must read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import pe_inspect as pei
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.families.structure.grid_values import best_reading, grid_score
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint

DIM = 24
State = dict[str, np.ndarray]


def small(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + sum(shape))
    return (0.02 * rng.standard_normal(shape)).astype(np.float32)


def waves(grid: tuple[int, ...], channels: int, seed: int = 0) -> np.ndarray:
    """Sums of slow cosines over a grid, a row a place."""
    rng = np.random.default_rng(seed)
    places = np.indices(grid).reshape(len(grid), -1).T / np.array(grid)
    steps = [f for f in np.ndindex(*(3,) * len(grid)) if any(f)]
    slow = [np.cos(np.pi * places * f).prod(axis=1) / (1 + sum(f)) ** 2 for f in steps]
    basis = np.stack(slow, axis=1)
    return (basis @ rng.standard_normal((len(steps), channels))).astype(np.float32)


def norm(stem: str, dim: int = DIM) -> State:
    return {f"{stem}.weight": np.ones(dim, np.float32), f"{stem}.bias": np.zeros(dim, np.float32)}


def linear(stem: str, out: int, into: int) -> State:
    return {f"{stem}.weight": small(out, into), f"{stem}.bias": small(out)}


def block(stem: str, dim: int = DIM, attention: str = "mixer.fused", mlp: str = "wide") -> State:
    """A block under names of nobody's."""
    return {
        **norm(f"{stem}.scale_a", dim),
        **linear(f"{stem}.{attention}", 3 * dim, dim),
        **linear(f"{stem}.back", dim, dim),
        **norm(f"{stem}.scale_b", dim),
        **linear(f"{stem}.{mlp}.up", 2 * dim, dim),
        **linear(f"{stem}.{mlp}.down", dim, 2 * dim),
    }


def blocks(stem: str, numbers: Iterator[int] | range, **names: object) -> State:
    return {k: v for i in numbers for k, v in block(f"{stem}{i}", **names).items()}  # type: ignore[arg-type]


def read(state: State) -> tuple[PositionEmbedding, ...]:
    return extract(Checkpoint.from_state_dict(state))


def table(grid: tuple[int, ...], prefix: int = 0, dim: int = DIM) -> np.ndarray:
    return np.concatenate([small(prefix, dim), waves(grid, dim)]) if prefix else waves(grid, dim)


KERNEL = {"eye.patch.weight": small(DIM, 3, 4, 4), "eye.patch.bias": small(DIM)}


def test_a_table_with_a_class_row_on_a_grid_that_is_no_square():
    state = {
        "whereabouts.pos_rows": table((5, 7), prefix=1)[None],
        "whereabouts.cls": small(1, 1, DIM),
        **KERNEL,
        **blocks("tower.storey", range(1, 5)),
    }

    (pe,) = read(state)

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((5, 7), 1, 1)
    assert (pe.depth, pe.keys) == (4, ("whereabouts.pos_rows",))
    assert np.array_equal(pe.tables[0].values, state["whereabouts.pos_rows"][0])


def test_wrappers_in_the_middle_of_names_are_seen_through():
    inner = blocks("net.rungs.", range(3))
    wrapped = {k.replace("rungs.", "_orig_mod.rungs.", 1): v for k, v in inner.items()}
    state = {"net._checkpoint_wrapped_module.spot_pos": table((3, 6))[:, None], **KERNEL, **wrapped}

    (pe,) = read(state)

    assert (pe.grid_size, pe.depth) == ((3, 6), 3)
    assert pe.keys == ("net._checkpoint_wrapped_module.spot_pos",)


def test_rows_and_columns_have_a_table_each():
    down, across = waves((5,), DIM), waves((8,), DIM, seed=1)
    state = {"place.row_emb": down, "place.col_emb": across, **KERNEL, **blocks("a.", range(2))}

    (pe,) = read(state)

    assert pe.grid_size == (5, 8)
    assert np.allclose(pe.tables[0].values[8 + 3], down[1] + across[3])


def test_channels_lie_first_and_blocks_are_one():
    values = waves((4, 6), DIM).T.reshape(1, DIM, 4, 6)
    (pe,) = read({"canvas.position": values, **KERNEL, **blocks("only.", range(1))})

    assert (pe.grid_size, pe.depth) == ((4, 6), 1)
    assert np.array_equal(pe.tables[0].values, values[0].reshape(DIM, -1).T)


def test_a_volume_has_three_axes():
    kernel = {"eye.patch.weight": small(DIM, 1, 2, 4, 4), "eye.patch.bias": small(DIM)}
    (pe,) = read({"place.pos": table((3, 4, 6))[None], **kernel, **blocks("deep", range(3))})

    assert pe.grid_size == (3, 4, 6)


def test_a_text_tower_beside_the_image_s_hides_nothing():
    words = {
        "reader.token_emb.weight": small(400, 16),
        "reader.pos_emb.weight": small(12, 16),
        **blocks("reader.layer", range(2), dim=16),
    }
    state = {"eye.pos": table((3, 5))[None], **KERNEL, **blocks("eye.step", range(3)), **words}

    (pe,) = read(state)

    assert (pe.keys, pe.grid_size, pe.depth) == (("eye.pos",), (3, 5), 3)


def test_every_block_has_a_table_of_offsets_and_the_index_tells_the_window():
    rows = (2 * 3 - 1) * (2 * 5 - 1)
    y, x = np.indices((3, 5)).reshape(2, -1)
    index = (y[:, None] - y + 2) * 9 + x[:, None] - x + 4
    state = {**KERNEL, **blocks("stage0.cell.", range(2)), **blocks("stage1.cell.", range(2))}
    for stage, i in np.ndindex(2, 2):
        state[f"stage{stage}.cell.{i}.mixer.rel_rows"] = waves((5, 9), 4)
        state[f"stage{stage}.cell.{i}.mixer.lookup_index"] = index
    assert rows == 45

    (pe,) = read(state)

    assert (pe.kind, pe.grid_size, pe.num_heads, pe.depth) == ("bias", (3, 5), 4, 4)
    first = state["stage0.cell.0.mixer.rel_rows"]
    assert np.array_equal(pe.tables[0].values, first[index].transpose(2, 0, 1))


def test_every_block_has_a_table_of_its_own():
    state = {**KERNEL, **blocks("rung.", range(3))}
    state |= {f"rung.{i}.pos_here": table((4, 5))[None] for i in range(3)}

    (pe,) = read(state)

    assert (pe.join, pe.grid_size, len(pe.tables)) == ("unshare", (4, 5), 3)


def test_complex_rotations_are_angles():
    y, x = np.indices((4, 6)).reshape(2, -1, 1) * 0.1
    turns = np.exp(1j * np.concatenate([y, x, 2 * y, 2 * x], axis=1)).astype(np.complex64)
    state = {"turn.freqs_cis": turns.reshape(4, 6, 4), **KERNEL, **blocks("b.", range(2))}

    (pe,) = read(state)

    assert (pe.kind, pe.grid_size, pe.depth) == ("phases", (4, 6), 2)
    assert np.allclose(pe.tables[0].values[0][:, 0], y[:, 0], atol=1e-5)


def test_a_decoder_has_a_table_of_its_own():
    state = {
        "see.pos": table((4, 6), prefix=1)[None],
        "see.cls": small(DIM),
        "decoder.pos": table((4, 6), prefix=1, dim=16)[None],
        **KERNEL,
        **blocks("see.rung.", range(3)),
        **blocks("decoder.rung.", range(2), dim=16),
    }

    first, second = read(state)

    assert (first.embed_dim, first.depth, second.embed_dim, second.depth) == (DIM, 3, 16, 2)
    assert first.grid_size == second.grid_size == (4, 6)


def test_where_nothing_decides_every_reading_is_listed_with_its_flags():
    state = {"eye.pos": small(1, 24, DIM), **KERNEL, **blocks("rung.", range(2))}

    with pytest.raises(AmbiguousCheckpoint) as raised:
        read(state)

    for grid in ("4x6", "6x4", "3x8", "8x3", "2x12", "12x2"):
        assert f"--grid-size {grid} --num-prefix-tokens 0" in str(raised.value)


@pytest.mark.parametrize(
    "more",
    [
        {"pos_embedding.weight": small(DIM, DIM), "pos_embedding.bias": small(DIM)},
        {"query_pos": small(100, DIM)},
        {"memory_tokens": small(20, DIM)},
        {"num_positions": small(4)},
    ],
)
def test_what_looks_like_position_and_is_not(more):
    state = {**KERNEL, **blocks("rung.", range(2)), **more}
    assert Structure(Trunk(Checkpoint.from_state_dict(state))).tables == ()


def test_a_thousand_blocks_with_a_gap_are_counted():
    numbers = [i for i in range(1000) if i != 500]
    state = {"eye.pos": table((3, 5))[None], **KERNEL}
    state |= {k: v for i in numbers for k, v in block(f"rung.{i}").items()}

    (table_found,) = Structure(Trunk(Checkpoint.from_state_dict(state))).tables

    assert table_found.tower is not None
    assert table_found.tower.depth == 1000
    assert table_found.tower.lists[0].missing == (500,)


def test_values_speak_for_the_true_grid_and_noise_for_none():
    grids = [((a, 24 // a), 0) for a in (2, 3, 4, 6, 8, 12)]
    assert best_reading(waves((4, 6), DIM), grids) == 2
    assert best_reading(small(24, DIM), grids) is None
    assert grid_score(waves((4, 6), DIM), (4, 6)) > 0.7


def three_towers() -> State:
    state: State = {}
    for name, grid in (("front", (3, 4)), ("back", (4, 5)), ("side", (5, 6))):
        state[f"{name}.pos"] = table(grid)[None]
        state |= {f"{name}.{key}": values for key, values in KERNEL.items()}
        state |= blocks(f"{name}.n.", range(2))
    return state


def test_each_of_three_towers_is_read_and_one_is_chosen_by_name(tmp_path):
    found = read(three_towers())

    assert [pe.grid_size for pe in found] == [(3, 4), (4, 5), (5, 6)]
    assert any("--tower front or back or side reads one alone" in n for n in found[0].notes)

    path = tmp_path / "three.npz"
    np.savez(path, **three_towers())
    (one,) = extract(pei.load(str(path), tower="side"))
    assert (one.grid_size, one.keys) == ((5, 6), ("side.pos",))


def test_names_of_ten_thousand_letters_and_gaps_hide_nothing():
    far = "a." * 5000
    state = {"eye.pos": table((3, 5))[None], **KERNEL, **blocks("rung.", [0, 1, 4])}  # type: ignore[arg-type]
    state |= {"x" * 10_000: small(3, 4), f"{far}w": small(2, 3)}

    (pe,) = read(state)

    assert (pe.grid_size, pe.depth) == ((3, 5), 5)
    assert "the file holds nothing of blocks 2, 3" in pe.notes
