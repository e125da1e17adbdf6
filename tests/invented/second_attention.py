"""What acts in attention, in layouts of nobody's: written after the rules were mended."""

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
    offsets,
    pair_index,
    pair_matrix,
    small,
    table,
    waves,
)

second = layout("second")


@second
def pinyin_windows() -> Layout:
    state = {
        **kernel("qie"),
        **blocks("duan.0.kuai.", range(2)),
        **blocks("duan.1.kuai.", range(2)),
    }
    keys = [f"duan.{s}.kuai.{i}.mixer.pianyi_biao" for s, i in np.ndindex(2, 2)]
    for key in keys:
        state |= {key: offsets((3, 4), 4), key.replace("biao", "suoyin"): pair_index((3, 4))}
    return state, (Truth(tuple(keys), (3, 4), "bias", depth=4, heads=4),)


@second
def one_table_a_stage() -> Layout:
    state = {**kernel(), **blocks("st.0.n.", range(2)), **blocks("st.1.n.", range(2))}
    keys = [f"st.{s}.rel_bias_table" for s in range(2)]
    for key in keys:
        state |= {key: offsets((4, 4), 4), key.replace("table", "index"): pair_index((4, 4))}
    return state, (Truth(tuple(keys), (4, 4), "bias", depth=None, heads=4),)


@second
def a_matrix_with_a_batch_axis() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.pos_prior" for i in range(3)]
    state |= {key: pair_matrix((4, 4), 3)[None] for key in keys}
    return state, (Truth(tuple(keys), (4, 4), "bias", heads=3),)


@second
def an_index_in_a_line() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.rel.weight" for i in range(3)]
    for i, key in enumerate(keys):
        state |= {key: offsets((3, 5), 4), f"n.{i}.mixer.rel_idx": pair_index((3, 5)).ravel()}
    return state, (Truth(tuple(keys), (3, 5), "bias", heads=4),)


@second
def windows_of_two_sizes_by_turns() -> Layout:
    state = {**kernel(), **blocks("n.", range(4))}
    keys = [f"n.{i}.mixer.rel_table" for i in range(4)]
    for i, key in enumerate(keys):
        window = (2, 6) if i % 2 else (6, 2)
        state |= {key: offsets(window, 4), f"n.{i}.mixer.rel_index": pair_index(window)}
    return state, (Truth(tuple(keys), (6, 2), "bias", depth=4, heads=4),)


@second
def a_network_of_three_offsets() -> Layout:
    state = {**kernel("cut", sides=(2, 4, 4)), **blocks("n.", range(2))}
    keys = []
    for i in range(2):
        state |= linear(f"n.{i}.mixer.place_net.fc_a", 12, 3)
        state |= linear(f"n.{i}.mixer.place_net.fc_b", 4, 12)
        keys += [f"n.{i}.mixer.place_net.fc_{x}.{p}" for x in "ab" for p in ("weight", "bias")]
    return state, (Truth(tuple(keys), None, "function", depth=2),)


@second
def turns_in_complex_numbers() -> Layout:
    y, x = np.indices((3, 8)).reshape(2, -1, 1) * 0.2
    turns = np.exp(1j * np.concatenate([y, x, y / 3, x / 3], axis=1)).astype(np.complex64)
    state = {"where.pos": table((3, 8))[None], "turn.freqs_cis": turns, **kernel("where.cut"),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("where.pos",), (3, 8)), Truth(("turn.freqs_cis",), (3, 8), "phases"))


@second
def vectors_by_row_and_column() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = []
    for i in range(3):
        state[f"n.{i}.mixer.rel_emb_row"] = waves((9,), 6)
        state[f"n.{i}.mixer.rel_emb_col"] = waves((5,), 6)
        keys += [f"n.{i}.mixer.rel_emb_row", f"n.{i}.mixer.rel_emb_col"]
    return state, (Truth(tuple(keys), (5, 3), "relative"),)


@second
def heads_behind_the_pairs() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.pos_bias" for i in range(3)]
    state |= {key: pair_matrix((4, 4), 3).transpose(1, 2, 0) for key in keys}
    return state, (Truth(tuple(keys), (4, 4), "bias", heads=3),)


@second
def frequencies_of_every_block() -> Layout:
    state = {**kernel(), **blocks("n.", range(3)), "cls": small(1, 1, DIM)}
    keys = [f"n.{i}.mixer.rope_freqs" for i in range(3)]
    state |= {key: small(4, 3, 2) for key in keys}
    return state, (Truth(tuple(keys), None, "phases", tokens=1),)


@second
def vectors_of_a_volume() -> Layout:
    state = {**kernel("cut", sides=(2, 4, 4)), **blocks("n.", range(2))}
    keys = []
    for i in range(2):
        for axis, rows in (("depth", 3), ("height", 7), ("width", 11)):
            state[f"n.{i}.mixer.rel_{axis}"] = waves((rows,), 6)
            keys.append(f"n.{i}.mixer.rel_{axis}")
    return state, (Truth(tuple(keys), (2, 4, 6), "relative", depth=2),)


@second
def a_bias_of_a_form_unheard_of() -> Layout:
    state = {**kernel(), **blocks("n.", range(3))}
    keys = [f"n.{i}.mixer.rel_pos_bias_planes" for i in range(3)]
    state |= {key: small(7, 11, 2, 4) for key in keys}
    return state, (Truth(tuple(keys), None, "bias", heads=4),)
