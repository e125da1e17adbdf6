"""What people write in public code, under names of nobody's: each asks for one rule."""

from __future__ import annotations

import numpy as np
from invented.parts import (
    DIM,
    Layout,
    State,
    Truth,
    blocks,
    kernel,
    layout,
    linear,
    norm,
    pair_matrix,
    small,
    table,
    waves,
)

third = layout("third")
ATTENTION = {"ln": "rms", "to_qkv": "qkv", "to_out": "square"}
NETWORK = {"net.0": "rms", "net.1": "up", "net.4": "down"}


def turns(stem: str, number: int) -> State:
    """Return a flat list of attentions and networks by turns; the networks' norms have no name."""
    state: State = {}
    for i in range(number):
        state |= blocks(stem, [2 * i], ATTENTION) | blocks(stem, [2 * i + 1], NETWORK)
        del state[f"{stem}{2 * i + 1}.net.1.bias"]
    return state


@third
def attentions_and_networks_by_turns() -> Layout:
    state = {"spots_pos": table((4, 7), 1)[None], "cls": small(1, DIM), **kernel("cut"),
             **turns("trunk.steps.", 3)}  # fmt: skip
    return state, (Truth(("spots_pos",), (4, 7), rows=1, tokens=1),)


@third
def frames_of_places_in_one_table() -> Layout:
    state = {"pos": table((3, 4, 4)).reshape(1, 3, 16, DIM), "temporal_cls": small(1, 1, DIM),
             **linear("to_patch.1", DIM, 96), **blocks("space.n.", range(2)),
             **blocks("temporal.n.", range(2))}  # fmt: skip
    return state, (Truth(("pos",), (3, 4, 4), depth=None, tokens=None),)


@third
def frames_of_places_without_order() -> Layout:
    state = {"pos": small(1, 3, 16, DIM), **linear("to_patch.1", DIM, 96),
             **blocks("spatial.n.", range(2)), **blocks("temporal.n.", range(2))}  # fmt: skip
    return state, (Truth(("pos",), (3, 4, 4), depth=None, tokens=None),)


@third
def frames_rows_and_columns() -> Layout:
    state = {"pos_frame": waves((3,), DIM), "pos_height": waves((4,), DIM),
             "pos_width": waves((5,), DIM), **linear("to_patch.1", DIM, 96),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_frame", "pos_height", "pos_width"), (3, 4, 5)),)


@third
def rows_and_columns_by_words_against_places() -> Layout:
    state = {"pos_h": waves((6,), DIM).reshape(1, 1, 6, DIM),
             "pos_w": waves((4,), DIM, seed=1).reshape(1, 4, 1, DIM), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_h", "pos_w"), (6, 4)),)


@third
def columns_and_rows_of_half_the_width() -> Layout:
    state = {"where.pos_x": waves((9,), DIM // 2)[None], "where.pos_y": waves((5,), DIM // 2)[None],
             **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("where.pos_y", "where.pos_x"), (5, 9)),)


@third
def a_decoder_s_table_beside_channels_of_another_kind() -> Layout:
    state = {"see.pos": table((4, 6), 1)[None], "see.cls": small(1, 1, DIM), **kernel("see.cut"),
             **blocks("see.n.", range(3)), "decoder.pos": table((4, 6), 1, 10)[None],
             "decoder.band": small(1, 3, 6), **blocks("decoder.n.", range(2), dim=16)}  # fmt: skip
    return state, (Truth(("see.pos",), (4, 6), rows=1, tokens=1),
                   Truth(("decoder.pos",), (4, 6), rows=1, tokens=None, depth=2))  # fmt: skip


@third
def pairs_of_a_volume_s_window() -> Layout:
    state = {**kernel("cut", sides=(2, 4, 4)), **blocks("n.", range(2))}
    keys = [f"n.{i}.mixer.relative_position_bias" for i in range(2)]
    state |= {key: pair_matrix((2, 2, 2), 3) for key in keys}
    return state, (Truth(tuple(keys), (2, 2, 2), "bias", heads=3, depth=2),)


@third
def blocks_without_norms() -> Layout:
    parts = {"attn.qkv_mat": "qkv", "attn.back": "square", "wide.up": "up", "wide.down": "down",
             "modulate": "square"}  # fmt: skip
    state = {"pos_here": table((4, 7))[None], **kernel(), **blocks("n.", range(3), parts)}
    return state, (Truth(("pos_here",), (4, 7)),)


@third
def levels_numbered_beside_a_table() -> Layout:
    state = {"pos_list": table((4, 9))[None], "level_of": np.zeros((1, 36), np.int64), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_list",), (4, 9)),)


@third
def scales_of_a_rotation_are_no_table() -> Layout:
    state = {"pos_emb.powers": np.linspace(1, 16, 16, dtype=np.float32), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, ()


@third
def frequencies_of_noise() -> Layout:
    state = {"map_noise.freqs": small(16), **linear("map_noise.fc", DIM, 32), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, ()


@third
def frequencies_of_steps() -> Layout:
    state = {"t_embedder.freqs": small(16), **linear("t_embedder.mlp.0", DIM, 32), **kernel(),
             **blocks("n.", range(3)), "label_table.weight": small(11, DIM)}  # fmt: skip
    return state, ()


@third
def actions_prompts_and_memories() -> Layout:
    state = {"action_pos_emb": small(12, DIM), "prompt_pos": small(10, DIM), **kernel(),
             "memory_tokens": small(16, DIM), "logit_scale": np.array(3, np.float32),
             **blocks("n.", range(3)), **norm("last"), "codebook": small(64, DIM)}  # fmt: skip
    return state, ()
