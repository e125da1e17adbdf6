"""Layouts of the fourth round, which were first read wrongly: each asks for one rule."""

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

fourth = layout("fourth")


@fourth
def rows_and_columns_crossed_in_every_block() -> Layout:
    state, keys = {**kernel(), **blocks("n.", range(3))}, []
    for i in range(3):
        state[f"n.{i}.mixer.rel_h"] = small(1, 4, DIM // 4, 1, 5)
        state[f"n.{i}.mixer.rel_w"] = small(1, 4, DIM // 4, 7, 1)
        keys += [f"n.{i}.mixer.rel_w", f"n.{i}.mixer.rel_h"]
    return state, (Truth(tuple(keys), (7, 5), join="layer"),)


@fourth
def a_class_row_ahead_of_every_frame_without_order() -> Layout:
    state = {"pos_all": small(1, 3, 17, DIM), "temporal_token": small(1, 1, DIM),
             **linear("to_patch.1", DIM, 96), **blocks("spatial.n.", range(2)),
             **blocks("temporal.n.", range(2))}  # fmt: skip
    return state, (Truth(("pos_all",), (3, 4, 4), depth=None, tokens=None),)


@fourth
def bands_in_a_line() -> Layout:
    state = {"band_pos": waves((12,), DIM)[None], "cls": small(1, 1, DIM), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("band_pos",), (1, 12), tokens=1),)


@fourth
def pairs_of_twenty_seven_places() -> Layout:
    state = {**kernel(sides=(2, 4, 4)), **blocks("n.", range(2))}
    keys = [f"n.{i}.mixer.relative_position_bias" for i in range(2)]
    state |= {key: pair_matrix((3, 3, 3), 3) for key in keys}
    return state, (Truth(tuple(keys), (3, 3, 3), "bias", heads=3, depth=2),)


@fourth
def a_third_of_the_channels_for_every_axis() -> Layout:
    state = {"row_embed.weight": waves((6,), 8), "col_embed.weight": waves((7,), 8, 1),
             "depth_embed.weight": waves((5,), 8, 2), **kernel(sides=(2, 4, 4)),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (
        Truth(("depth_embed.weight", "row_embed.weight", "col_embed.weight"), (5, 6, 7)),
    )  # fmt: skip


@fourth
def a_table_of_one_frame_beside_the_frames() -> Layout:
    state = {"space_pos": waves((4, 6), DIM)[None], "temporal_pos": waves((3,), DIM)[None],
             **kernel(sides=(3, 7, 7)), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("space_pos",), (4, 6)),
                   Truth(("temporal_pos",), (3, 1, 1), depth=None))  # fmt: skip


@fourth
def two_rows_ahead_that_no_token_tells() -> Layout:
    state = {"pos_all": table((5, 7), 2)[None], **kernel(), **blocks("n.", range(3))}
    return state, (Truth(("pos_all",), (5, 7), rows=2, tokens=2),)


@fourth
def two_lines_in_one_tensor() -> Layout:
    lines = np.stack([waves((30,), DIM), waves((30,), DIM, 1)])
    state = {"where_pos": lines, **kernel(), **blocks("n.", range(3))}
    return state, (Truth(("where_pos",), (30, 30)),)


@fourth
def a_network_between_bounds_beside_its_coordinates() -> Layout:
    state, keys = {**kernel(), **blocks("n.", range(2))}, []
    axes = [np.sign(a) * np.log2(1 + np.abs(a)) / 3 for a in (np.arange(-2, 3), np.arange(-4, 5))]
    spread = np.stack(np.meshgrid(*axes, indexing="ij"), -1)[None].astype(np.float32)
    for i in range(2):
        at = f"n.{i}.mixer.where"
        state |= {f"{at}.spread": spread, f"{at}.pair_index": pair_index((3, 5)),
                  **linear(f"{at}.net.0", 16, 2), f"{at}.net.2.weight": small(4, 16)}  # fmt: skip
        keys += [f"{at}.net.0.weight", f"{at}.net.0.bias", f"{at}.net.2.weight"]
    return state, (Truth(tuple(keys), (3, 5), "function", heads=4, depth=2),)


@fourth
def a_token_of_biases_is_no_bias() -> Layout:
    state = {"make.bias_token": small(1, 16), **kernel(), **blocks("n.", range(3))}
    return state, ()


@fourth
def a_convolution_of_a_volume() -> Layout:
    state, keys = {**kernel(sides=(2, 4, 4)), **blocks("n.", range(3))}, []
    for i in range(3):
        state |= {f"n.{i}.peg.weight": small(DIM, 1, 3, 3, 3), f"n.{i}.peg.bias": small(DIM)}
        keys += [f"n.{i}.peg.weight", f"n.{i}.peg.bias"]
    return state, (Truth(tuple(keys), (8, 14, 14), "function"),)


@fourth
def pairs_of_as_many_tokens_as_the_table_has_rows() -> Layout:
    state = {"spots_pos": table((4, 5), 1)[None], "cls": small(1, 1, DIM), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    keys = tuple(f"n.{i}.mixer.attn_bias" for i in range(3))
    state |= {key: pair_matrix((4, 5), 3, 1) for key in keys}
    return state, (Truth(("spots_pos",), (4, 5), rows=1, tokens=1),
                   Truth(keys, (4, 5), "bias", rows=1, tokens=1, heads=3))  # fmt: skip


@fourth
def a_list_of_biases_beside_the_blocks() -> Layout:
    keys = tuple(f"relative_position_biases.{i}" for i in range(3))
    state = {**kernel(), **blocks("n.", range(3)), **{key: offsets((4, 6), 3) for key in keys}}
    return state, (Truth(keys, (4, 6), "bias", heads=3),)


@fourth
def a_tensor_of_biases_for_all_blocks() -> Layout:
    state = {**kernel(), **blocks("n.", range(3)), "rel_bias": np.stack([offsets((5, 5), 4)] * 3)}
    return state, (Truth(("rel_bias",), (5, 5), "bias", heads=4),)


@fourth
def vectors_by_row_and_column_with_the_channels_first() -> Layout:
    state, keys = {**kernel(), **blocks("n.", range(2))}, []
    for i in range(2):
        keys += [f"n.{i}.mixer.height_way.relative", f"n.{i}.mixer.width_way.relative"]
        state |= {keys[-2]: small(6, 9), keys[-1]: small(6, 13)}
    return state, (Truth(tuple(keys), (5, 7), "relative", rows=None, depth=2),)


@fourth
def numbered_axes_of_a_third_of_the_channels() -> Layout:
    state = {f"stack.pos_axis.d_{i}": waves((n,), 8, i) for i, n in enumerate((4, 5, 6))}
    keys = tuple(state)
    return {**state, **blocks("stack.n.", range(3))}, (Truth(keys, (4, 5, 6)),)


@fourth
def rows_of_text_ahead_of_a_grid_that_another_table_tells() -> Layout:
    state = {"first_pos": np.concatenate([small(16, DIM), waves((6, 6), DIM)])[None],
             "second_pos": waves((6, 6), DIM)[None], **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("first_pos",), (6, 6), rows=16, tokens=None),
                   Truth(("second_pos",), (6, 6), tokens=None))  # fmt: skip


@fourth
def numbered_towers_that_each_look_at_the_image() -> Layout:
    state = {}
    for i, (grid, depth) in enumerate((((4, 6), 3), ((5, 7), 2))):
        state |= {f"eyes.{i}.pos": table(grid)[None], **kernel(f"eyes.{i}.patch"),
                  **blocks(f"eyes.{i}.n.", range(depth))}  # fmt: skip
    return state, (Truth(("eyes.0.pos",), (4, 6)), Truth(("eyes.1.pos",), (5, 7), depth=2))


@fourth
def offsets_with_the_heads_last_on_a_rectangle() -> Layout:
    keys = tuple(f"n.{i}.mixer.rel_bias" for i in range(2))
    state = {**kernel(), **blocks("n.", range(2))}
    state |= {key: waves((7, 11), 3).reshape(1, 7, 11, 3) for key in keys}
    return state, (Truth(keys, (4, 6), "bias", heads=3, depth=2),)


@fourth
def offsets_of_a_volume_with_the_heads_first() -> Layout:
    keys = tuple(f"n.{i}.mixer.rel_bias" for i in range(2))
    state = {**kernel(sides=(2, 4, 4)), **blocks("n.", range(2))}
    state |= {key: np.moveaxis(waves((3, 7, 11), 4).reshape(3, 7, 11, 4), -1, 0) for key in keys}
    return state, (Truth(keys, (2, 4, 6), "bias", heads=4, depth=2),)


@fourth
def distances_whose_index_lies_at_the_root() -> Layout:
    places = np.indices((4, 6)).reshape(2, -1)
    away = np.abs(places[:, :, None] - places[:, None])
    keys = tuple(f"n.{i}.mixer.attention_biases" for i in range(2))
    state = {**kernel(), **blocks("n.", range(2)), "bias_idxs": away[0] * 6 + away[1]}
    state |= {key: waves((4, 6), 3).T for key in keys}
    return state, (Truth(keys, (4, 6), "bias", heads=3, depth=2),)


@fourth
def turns_in_real_and_imaginary_parts() -> Layout:
    angles = 0.1 * np.indices((4, 6)).reshape(2, 24).T.repeat(2, axis=1)
    parts = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    state = {"freqs_cis": parts.reshape(4, 6, 4, 2), **kernel(), **blocks("n.", range(3))}
    return state, (Truth(("freqs_cis",), (4, 6), "phases"),)


@fourth
def vectors_a_head() -> Layout:
    by_head = waves((4, 7), DIM).reshape(1, 28, 3, 8).transpose(0, 2, 1, 3)
    state = {"pos_keys": by_head, **kernel(), **blocks("n.", range(3))}
    return state, (Truth(("pos_keys",), (4, 7)),)


@fourth
def a_table_over_codes_is_of_no_words() -> Layout:
    state = {"prior.tok_emb.weight": small(64, DIM), "prior.pos_emb": waves((6, 6), DIM)[None],
             **blocks("prior.n.", range(3)), "first.conv_in.weight": small(8, 3, 3, 3),
             "first.quantize.embedding.weight": small(64, 12)}  # fmt: skip
    return state, (Truth(("prior.pos_emb",), (6, 6)),)


@fourth
def an_embedding_of_classes_is_no_table() -> Layout:
    state = {"y_embedder.embedding_table.weight": small(101, DIM), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, ()


@fourth
def a_kernel_over_channels_of_one_frame_each() -> Layout:
    state = {"spots_pos": table((4, 6), 1)[None], "cls": small(1, 1, DIM),
             **kernel("patch", sides=(1, 4, 4)), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("spots_pos",), (4, 6), rows=1, tokens=1),)
