"""Tables added to tokens, in layouts of nobody's: written after the rules were mended."""

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
    small,
    table,
    waves,
)

second = layout("second")


@second
def spanish_names() -> Layout:
    parts = {"normaA": "norm", "atencion.qkv": "qkv", "atencion.salida": "square",
             "normaB": "norm", "red.sube": "up", "red.baja": "down"}  # fmt: skip
    state = {"codificador.incrustacion_posicional": table((3, 9), 1)[None],
             "codificador.ficha_clase": small(1, 1, DIM), **kernel("codificador.parches"),
             **blocks("codificador.capas.", range(3), parts)}  # fmt: skip
    return state, (
        Truth(("codificador.incrustacion_posicional",), (3, 9), rows=1, tokens=1),
    )  # fmt: skip


@second
def romaji_names_alone() -> Layout:
    parts = {"seiki1": "norm", "chuui.qkv": "qkv", "chuui.deguchi": "square", "seiki2": "norm",
             "kairo.ue": "up", "kairo.shita": "down"}  # fmt: skip
    state = {"ichi": table((5, 6))[None], **kernel("gazou"), **blocks("sou.", range(4), parts)}
    return state, (Truth(("ichi",), (5, 6), depth=4),)


@second
def humps() -> Layout:
    parts = {"attnNorm": "norm", "selfAttention.queryProj": "square",
             "selfAttention.keyProj": "square", "selfAttention.valueProj": "square",
             "selfAttention.outProj": "square", "mlpNorm": "norm", "mlpBlock.denseIn": "up",
             "mlpBlock.denseOut": "down"}  # fmt: skip
    state = {"visionEncoder.positionEmbedding": table((6, 5), 1)[None],
             "visionEncoder.classToken": small(1, 1, DIM), **kernel("visionEncoder.patchConv"),
             **blocks("visionEncoder.layerStack.", range(3), parts)}  # fmt: skip
    return state, (
        Truth(("visionEncoder.positionEmbedding",), (6, 5), rows=1, tokens=1),
    )  # fmt: skip


@second
def channels_first_in_a_line() -> Layout:
    state = {"pos_line": table((5, 7)).T[None], **kernel(), **blocks("n.", range(3))}
    return state, (Truth(("pos_line",), (5, 7)),)


@second
def levels_of_units_behind_one_table() -> Layout:
    state = {"entry.pos": waves((8, 6), 16)[None], **kernel("entry.cut", 16),
             **blocks("levels.0.units.", range(2), dim=16),
             **linear("levels.0.merge", 32, 64), **norm("levels.0.merge_norm", 64),
             **blocks("levels.1.units.", range(2), dim=32)}  # fmt: skip
    return state, (Truth(("entry.pos",), (8, 6), depth=4),)


@second
def averaged_weights_in_three_wrappers() -> Layout:
    inner = {"net.pos": table((4, 7))[None], **kernel("net.cut"), **blocks("net.n.", range(3))}
    state = {f"ema_model.module._orig_mod.{k}": v for k, v in inner.items()}
    return state, (Truth(("ema_model.module._orig_mod.net.pos",), (4, 7)),)


@second
def class_and_distillation_rows() -> Layout:
    state = {"pos_tab": table((3, 8), 2)[None], "cls_tok": small(1, 1, DIM),
             "distill_tok": small(1, 1, DIM), **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_tab",), (3, 8), rows=2, tokens=2),)


@second
def registers_with_rows() -> Layout:
    state = {"pos_tab": table((5, 6), 5)[None], "cls_tok": small(1, 1, DIM),
             "register_tok": small(4, DIM), **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_tab",), (5, 6), rows=5, tokens=5),)


@second
def a_class_vector_without_axes() -> Layout:
    state = {"tokens.cls": small(DIM), "tokens.positions": table((4, 9), 1), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("tokens.positions",), (4, 9), rows=1, tokens=1),)


@second
def a_language_model_twice_as_deep() -> Layout:
    state = {
        "language.embed_tokens.weight": small(400, 32), "language.pos.weight": small(64, 32),
        **blocks("language.n.", range(8), dim=32),
        "vision.pos.weight": table((4, 6)), **kernel("vision.cut"), **blocks("vision.n.", range(3)),
        **linear("bridge", 32, DIM),
    }  # fmt: skip
    return state, (Truth(("vision.pos.weight",), (4, 6)),)


@second
def a_spectrogram() -> Layout:
    state = {"spectro.positions": table((4, 13), 1)[None], "spectro.cls": small(1, 1, DIM),
             "spectro.cut.weight": small(DIM, 1, 8, 4), "spectro.cut.bias": small(DIM),
             **blocks("spectro.n.", range(3))}  # fmt: skip
    return state, (Truth(("spectro.positions",), (4, 13), rows=1, tokens=1),)


@second
def a_cube_with_a_class_token() -> Layout:
    state = {"scan.pos": table((4, 4, 4), 1)[None], "scan.cls": small(1, 1, DIM),
             **kernel("scan.cut", sides=(4, 4, 4)), **blocks("scan.n.", range(3))}  # fmt: skip
    return state, (Truth(("scan.pos",), (4, 4, 4), rows=1, tokens=1),)


@second
def frames_one_by_one() -> Layout:
    state = {"clip.pos": table((4, 6, 6))[None], **kernel("clip.cut", sides=(1, 4, 4)),
             **blocks("clip.n.", range(3))}  # fmt: skip
    return state, (Truth(("clip.pos",), (4, 6, 6)),)


@second
def a_frame_at_a_time_in_a_volume_kernel() -> Layout:
    state = {"clip.pos": table((6, 6))[None], **kernel("clip.cut", sides=(2, 4, 4)),
             **blocks("clip.n.", range(3))}  # fmt: skip
    return state, (Truth(("clip.pos",), (6, 6)),)


@second
def three_axes_added() -> Layout:
    state = {"pos.t": waves((3,), DIM).reshape(1, 3, 1, 1, DIM),
             "pos.h": waves((4,), DIM).reshape(1, 1, 4, 1, DIM),
             "pos.w": waves((6,), DIM).reshape(1, 1, 1, 6, DIM),
             **kernel("cut", sides=(2, 4, 4)), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos.t", "pos.h", "pos.w"), (3, 4, 6)),)


@second
def spatial_and_temporal_words() -> Layout:
    state = {"spatial_pos": table((4, 6))[None], "temporal_pos": table((5,))[None],
             **kernel("cut"), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("spatial_pos",), (4, 6)),
                   Truth(("temporal_pos",), None, rows=None, tokens=None, depth=None))  # fmt: skip


@second
def an_embedding_with_its_numbers() -> Layout:
    state = {"front.position.weight": table((4, 7), 1), "front.position_ids": np.arange(29)[None],
             "front.cls": small(1, 1, DIM), **kernel("front.cut"),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("front.position.weight",), (4, 7), rows=1, tokens=1),)


@second
def half_precision() -> Layout:
    state = {"pos_tab": table((4, 7))[None], **kernel(), **blocks("n.", range(3))}
    state = {k: v.astype(np.float16) for k, v in state.items()}
    return state, (Truth(("pos_tab",), (4, 7)),)


@second
def two_tables_of_one_shape() -> Layout:
    state = {"pos_here": table((4, 7))[None], "pos_there": table((4, 7))[None] + small(1, 28, DIM),
             **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_here",), (4, 7)), Truth(("pos_there",), (4, 7)))


@second
def a_bottleneck_in_a_unet() -> Layout:
    convs = {f"down.{i}.conv.weight": small(8 * 2**i, max(3, 4 * 2**i), 3, 3) for i in range(3)}
    state = {**convs, "bottleneck.pos": table((4, 7))[None],
             "bottleneck.enter.weight": small(DIM, 32, 1, 1), **blocks("bottleneck.n.", range(3)),
             "up.0.conv.weight": small(16, DIM, 3, 3)}  # fmt: skip
    return state, (Truth(("bottleneck.pos",), (4, 7)),)


@second
def a_table_a_unit_of_every_level() -> Layout:
    state = {**kernel("cut", 16), **blocks("lv.0.u.", range(2), dim=16),
             **blocks("lv.1.u.", range(2), dim=32)}  # fmt: skip
    state |= {f"lv.0.u.{i}.own_pos": waves((4, 6), 16)[None] for i in range(2)}
    state |= {f"lv.1.u.{i}.own_pos": waves((2, 3), 32)[None] for i in range(2)}
    keys = tuple(f"lv.{s}.u.{i}.own_pos" for s, i in np.ndindex(2, 2))
    return state, (Truth(keys, (4, 6), join="unshare", depth=None),)


@second
def names_of_one_letter_and_a_class_token() -> Layout:
    parts = {"a": "norm", "q": "square", "k": "square", "v": "square", "o": "square", "b": "norm",
             "m1": "up", "m2": "down"}  # fmt: skip
    state = {"e.p": table((4, 7), 1)[None], "e.c": small(1, 1, DIM), **kernel("e.w"),
             **blocks("t.", range(3), parts)}  # fmt: skip
    return state, (Truth(("e.p",), (4, 7), rows=1, tokens=1),)


@second
def words_alone() -> Layout:
    state = {"tok_embed.weight": small(500, DIM), "pos_embed.weight": small(64, DIM),
             **blocks("n.", range(3)), "lm_head.weight": small(500, DIM)}  # fmt: skip
    return state, ()


@second
def slots_that_ask() -> Layout:
    convs = {"body.conv1.weight": small(16, 3, 7, 7), "enter.weight": small(DIM, 16, 1, 1)}
    return {**convs, **blocks("n.", range(3)), "slots.weight": small(100, DIM)}, ()


@second
def points_with_a_network_of_positions() -> Layout:
    state = {**linear("pos_embed.0", 32, 3), **linear("pos_embed.2", DIM, 32),
             **blocks("n.", range(3))}  # fmt: skip
    return state, ()
