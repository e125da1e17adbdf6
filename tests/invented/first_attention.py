"""What acts in attention, and nothing at all, in layouts of nobody's: written likewise."""

from __future__ import annotations

import numpy as np
from invented.parts import (
    DIM,
    Layout,
    Truth,
    blocks,
    kernel,
    layout,
    linear,
    norm,
    offsets,
    pair_index,
    pair_matrix,
    small,
    waves,
)

first = layout("first")


@first
def windows_with_the_heads_first() -> Layout:
    state = {**kernel(), **blocks("st.0.cell.", range(2)), **blocks("st.1.cell.", range(2))}
    keys = [f"st.{s}.cell.{i}.mixer.rel_bias" for s, i in np.ndindex(2, 2)]
    state |= {key: offsets((4, 4), 4).T for key in keys}
    state |= {f"{key}_index": pair_index((4, 4)) for key in keys}
    return state, (Truth(tuple(keys), (4, 4), "bias", depth=4, heads=4),)


@first
def one_index_at_the_root() -> Layout:
    state = {"lookup": pair_index((3, 5)), **kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.offset_emb.weight" for i in range(3)]
    state |= {key: offsets((3, 5), 4) for key in keys}
    return state, (Truth(tuple(keys), (3, 5), "bias", heads=4),)


@first
def a_matrix_a_head() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.geo_bias" for i in range(3)]
    state |= {key: pair_matrix((4, 4), 3) for key in keys}
    return state, (Truth(tuple(keys), (4, 4), "bias", heads=3),)


@first
def one_bias_for_all_blocks() -> Layout:
    state = {"shared.rel_pos_bias": offsets((4, 6), 4), "shared.rel_idx": pair_index((4, 6)),
             **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("shared.rel_pos_bias",), (4, 6), "bias", heads=4),)


@first
def windows_of_a_volume() -> Layout:
    state = {**kernel("cut", sides=(2, 4, 4)), **blocks("n.", range(2))}
    keys = [f"n.{i}.mixer.bias_rows" for i in range(2)]
    for i, key in enumerate(keys):
        state |= {key: offsets((2, 3, 4), 4), f"n.{i}.mixer.pair_index": pair_index((2, 3, 4))}
    return state, (Truth(tuple(keys), (2, 3, 4), "bias", depth=2, heads=4),)


@first
def three_more_rows_for_a_class_token() -> Layout:
    state = {"cls": small(1, 1, DIM), **kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.rel_bias_rows" for i in range(3)]
    state |= {key: offsets((4, 4), 4, 3) for key in keys}
    return state, (Truth(tuple(keys), (4, 4), "bias", rows=1, tokens=1, heads=4),)


@first
def distances_with_an_index() -> Layout:
    places = np.indices((4, 4)).reshape(2, -1)
    away = np.abs(places[:, :, None] - places[:, None])
    state = {**kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.dist_bias" for i in range(3)]
    for i, key in enumerate(keys):
        state |= {key: waves((4, 4), 4).T, f"n.{i}.mixer.dist_idx": away[0] * 4 + away[1]}
    return state, (Truth(tuple(keys), (4, 4), "bias", heads=4),)


@first
def vectors_for_rows_and_columns() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = []
    for i in range(3):
        state[f"n.{i}.mixer.rel_h"], state[f"n.{i}.mixer.rel_w"] = waves((7,), 8), waves((11,), 8)
        keys += [f"n.{i}.mixer.rel_h", f"n.{i}.mixer.rel_w"]
    return state, (Truth(tuple(keys), (4, 6), "relative"),)


@first
def cosines_of_rows_and_columns() -> Layout:
    y, x = np.indices((4, 6))[..., None] * 0.3
    turns = np.concatenate([y, x, y / 2, x / 2], axis=-1).repeat(2, -1).astype(np.float32)
    state = {"turns.cos_table": np.cos(turns), "turns.sin_table": np.sin(turns),
             **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("turns.cos_table", "turns.sin_table"), (4, 6), "phases", heads=None),)


@first
def a_small_network_of_offsets() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = []
    for i in range(3):
        state |= {
            **linear(f"n.{i}.mixer.bias_net.0", 16, 2),
            **linear(f"n.{i}.mixer.bias_net.2", 4, 16),
        }
        keys += [f"n.{i}.mixer.bias_net.{j}.{part}" for j in (0, 2) for part in ("weight", "bias")]
    return state, (Truth(tuple(keys), None, "function", heads=None, depth=3),)


@first
def no_position_at_all() -> Layout:
    return {**kernel(), **blocks("n.", range(3)), **linear("pos_head", 10, DIM)}, ()


@first
def queries_and_memories_alone() -> Layout:
    more = {"object_queries": small(50, DIM), "memory_slots": small(16, DIM)}
    return {**kernel(), **blocks("n.", range(3)), **more}, ()


@first
def convolutions_alone() -> Layout:
    convs = {f"layer.{i}.conv.weight": small(16, 16, 3, 3) for i in range(3)}
    bns = {k: v for i in range(3) for k, v in norm(f"layer.{i}.bn", 16).items()}
    return {"stem.weight": small(16, 3, 7, 7), **convs, **bns, **linear("position_head", 2, 16)}, ()
