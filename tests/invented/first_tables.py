"""Tables added to tokens, in layouts of nobody's: written before the rules were mended."""

from __future__ import annotations

import numpy as np
from invented.parts import (
    DIM,
    PARTS,
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

first = layout("first")
SPLIT = {
    "attn_ln": "norm", "attn.q_lin": "square", "attn.k_lin": "square", "attn.v_lin": "square",
    "attn.out": "square", "ffn_ln": "norm", "ffn.0": "up", "ffn.2": "down",
}  # fmt: skip
FLAX = {
    "RMS_0": "scale", "Attn_0.qkv": "kernel:qkv", "Attn_0.out": "kernel:square",
    "RMS_1": "scale", "Mlp_0.In": "kernel:up", "Mlp_0.Out": "kernel:down",
}  # fmt: skip


@first
def a_summary_token_of_another_name() -> Layout:
    state = {
        "net.vis.place_enc.tab": table((4, 7), 1)[None],
        "net.vis.summary_tok": small(1, 1, DIM),
        **kernel("net.vis.cut.proj"),
        **blocks("net.vis.strata.", range(3)),
    }
    return state, (Truth(("net.vis.place_enc.tab",), (4, 7), rows=1, tokens=1),)


@first
def sequence_toolkit_names() -> Layout:
    parts = {
        "self_attn.q_proj": "square", "self_attn.k_proj": "square", "self_attn.v_proj": "square",
        "self_attn.out_proj": "square", "self_attn_layer_norm": "norm", "fc1": "up", "fc2": "down",
        "final_layer_norm": "norm",
    }  # fmt: skip
    state = {
        "encoder.embed_positions.weight": table((5, 6)),
        **kernel("encoder.embed_patches.conv"),
        **blocks("encoder.layers.", range(3), parts),
        **norm("encoder.layer_norm"),
    }
    return state, (Truth(("encoder.embed_positions.weight",), (5, 6)),)


@first
def functional_names_with_slashes() -> Layout:
    state = {
        "params/Vision/AddPos_0/table": table((3, 8), 1)[None],
        "params/Vision/cls_tok": small(1, 1, DIM),
        "params/Vision/Patches/kernel": small(4, 4, 3, DIM),
        "params/Vision/Patches/bias": small(DIM),
        **{
            k.replace(".", "/"): v
            for k, v in blocks("params.Vision.Layer_", range(3), FLAX).items()
        },
    }
    return state, (Truth(("params/Vision/AddPos_0/table",), (3, 8), rows=1, tokens=1),)


@first
def names_without_meaning() -> Layout:
    parts = {"c": "norm", "d.e": "qkv", "d.f": "square", "g": "norm", "h.i": "up", "h.j": "down"}
    state = {"a.p": table((5, 7))[None], **kernel("a.k"), **blocks("a.b.", range(3), parts)}
    return state, (Truth(("a.p",), (5, 7)),)


@first
def german_names() -> Layout:
    parts = {
        "norm_vor": "norm", "aufmerksamkeit.abfrage": "square",
        "aufmerksamkeit.schluessel": "square",
        "aufmerksamkeit.wert": "square", "norm_nach": "norm", "netz.auf": "up", "netz.ab": "down",
    }  # fmt: skip
    state = {
        "kodierer.positionskodierung": table((4, 6), 1)[None],
        "kodierer.klassenmarke": small(1, 1, DIM),
        **kernel("kodierer.bildteile"),
        **blocks("kodierer.schicht.", range(3), parts),
    }
    return state, (Truth(("kodierer.positionskodierung",), (4, 6), rows=1, tokens=1),)


@first
def french_names() -> Layout:
    parts = {"norme1": "norm", "att.qcv": "qkv", "att.sortie": "square", "norme2": "norm",
             "perceptron.0": "up", "perceptron.2": "down"}  # fmt: skip
    state = {
        "encodeur.plongement_position": table((6, 4)),
        **kernel("encodeur.plongement_image"),
        **blocks("encodeur.couches.", range(4), parts),
    }
    return state, (Truth(("encodeur.plongement_position",), (6, 4), depth=4),)


@first
def pinyin_names() -> Layout:
    parts = {"guiyi1": "norm", "zhuyili.qkv": "qkv", "zhuyili.shuchu": "square", "guiyi2": "norm",
             "qiankui.0": "up", "qiankui.3": "down"}  # fmt: skip
    state = {
        "weizhi_bianma": table((5, 8))[None],
        **kernel("qiepian"),
        **blocks("ceng.", range(3), parts),
    }
    return state, (Truth(("weizhi_bianma",), (5, 8)),)


@first
def a_pyramid_with_a_table_a_stage() -> Layout:
    state = {
        **kernel("s1.down", 16), **blocks("s1.cell.", range(2), dim=16),
        "s1.where": waves((6, 10), 16)[None],
        "s2.down.weight": small(32, 16, 2, 2), "s2.down.bias": small(32),
        **blocks("s2.cell.", range(3), dim=32), "s2.where": waves((3, 5), 32)[None],
    }  # fmt: skip
    return state, (
        Truth(("s1.where",), (6, 10), depth=None), Truth(("s2.where",), (3, 5), depth=None),
    )  # fmt: skip


@first
def two_branches_of_two_resolutions() -> Layout:
    state = {
        "coarse.pos": table((3, 4), 1)[None], "coarse.cls": small(1, 1, DIM),
        **kernel("coarse.patch"), **blocks("coarse.unit.", range(2)),
        "fine.pos": table((6, 8), 1, 16)[None], "fine.cls": small(1, 1, 16),
        **kernel("fine.patch", 16), **blocks("fine.unit.", range(3), dim=16),
    }  # fmt: skip
    return state, (
        Truth(("coarse.pos",), (3, 4), rows=1, tokens=1, depth=2),
        Truth(("fine.pos",), (6, 8), rows=1, tokens=1, depth=3),
    )


@first
def one_tensor_of_a_table_a_block() -> Layout:
    values = np.stack([table((4, 5), 1) for _ in range(3)])
    state = {
        "layerwise_positions": values, "class_vec": small(DIM),
        **kernel(), **blocks("chain.", range(3)),
    }  # fmt: skip
    return state, (Truth(("layerwise_positions",), (4, 5), rows=1, tokens=1, join="unshare"),)


@first
def a_list_of_tables_beside_the_blocks() -> Layout:
    state = {**{f"pos_list.{i}": table((4, 5))[None] for i in range(3)}, **kernel(),
             **blocks("chain.", range(3))}  # fmt: skip
    keys = tuple(f"pos_list.{i}" for i in range(3))
    return state, (Truth(keys, (4, 5), join="unshare"),)


@first
def rows_columns_and_channels_bare() -> Layout:
    state = {
        "loc_grid": waves((5, 9), DIM).reshape(5, 9, DIM),
        **kernel(),
        **blocks("n.", range(3)),
    }
    return state, (Truth(("loc_grid",), (5, 9)),)


@first
def channels_first_bare() -> Layout:
    values = waves((5, 9), DIM).T.reshape(DIM, 5, 9)
    state = {"positional_map": values, **kernel(), **blocks("n.", range(3))}
    return state, (Truth(("positional_map",), (5, 9)),)


@first
def the_class_row_is_a_tensor_of_its_own() -> Layout:
    state = {
        "pos.patches": table((4, 6))[None], "pos.cls": small(1, 1, DIM), "cls": small(1, 1, DIM),
        **kernel(), **blocks("n.", range(3)),
    }  # fmt: skip
    return state, (Truth(("pos.patches",), (4, 6), rows=None, tokens=1),)


@first
def halves_of_the_channels_for_rows_and_columns() -> Layout:
    half = DIM // 2
    state = {"place.down": waves((5,), half), "place.across": waves((8,), half, 1),
             **kernel(), **blocks("n.", range(3))}  # fmt: skip
    state = {k.replace("place.down", "place.row_pos").replace("place.across", "place.col_pos"): v
             for k, v in state.items()}  # fmt: skip
    return state, (Truth(("place.row_pos", "place.col_pos"), (5, 8)),)


@first
def axes_that_keep_their_places() -> Layout:
    state = {
        "vertical_pos": waves((5,), DIM).T.reshape(1, DIM, 5, 1),
        "horizontal_pos": waves((7,), DIM).T.reshape(1, DIM, 1, 7),
        **kernel(), **blocks("n.", range(3)),
    }  # fmt: skip
    return state, (Truth(("vertical_pos", "horizontal_pos"), (5, 7)),)


@first
def frequency_and_time() -> Layout:
    state = {
        "spec.freq_pos_table": waves((4,), DIM).T.reshape(1, DIM, 4, 1),
        "spec.time_pos_table": waves((11,), DIM).T.reshape(1, DIM, 1, 11),
        "spec.cls_tok": small(1, 1, DIM),
        "spec.patch.weight": small(DIM, 1, 4, 4), "spec.patch.bias": small(DIM),
        **blocks("spec.n.", range(3)),
    }  # fmt: skip
    keys = ("spec.freq_pos_table", "spec.time_pos_table")
    return state, (Truth(keys, (4, 11), tokens=1, rows=None),)


@first
def a_clip_with_a_class_token() -> Layout:
    state = {"clip_pos": table((2, 3, 5), 1)[None], "cls_token": small(1, 1, DIM),
             **kernel("tubes.proj", sides=(2, 4, 4)), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("clip_pos",), (2, 3, 5), rows=1, tokens=1),)


@first
def frames_rows_and_columns_apart() -> Layout:
    state = {"where": waves((3, 4, 6), DIM).reshape(1, 3, 4, 6, DIM),
             **kernel("tubes.proj", sides=(2, 4, 4)), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("where",), (3, 4, 6)),)


@first
def detection_slots_behind_the_patches() -> Layout:
    state = {"pos": table((3, 7), 1, suffix=10)[None], "cls": small(1, 1, DIM),
             "det_tokens": small(1, 10, DIM), **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos",), (3, 7), rows=1, tokens=1),)


@first
def scratch_registers_without_rows() -> Layout:
    state = {"pos": table((4, 7), 1)[None], "cls": small(1, 1, DIM), "reg_tok": small(1, 4, DIM),
             **kernel(), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos",), (4, 7), rows=1, tokens=5),)


@first
def adapters_of_low_rank() -> Layout:
    inner = blocks("net.n.", range(3))
    state = {"net.pos": table((4, 6))[None], **kernel("net.cut"), **inner}
    state = {k.replace("fused.", "fused.base_layer."): v for k, v in state.items()}
    state |= {f"net.n.{i}.mixer.fused.lora_{ab}.default.weight": small(4, DIM)
              for i in range(3) for ab in "AB"}  # fmt: skip
    state = {f"base_model.model.{k}": v for k, v in state.items()}
    return state, (Truth(("base_model.model.net.pos",), (4, 6)),)


@first
def sharded_modules_inside() -> Layout:
    inner = blocks("net.n.", range(3))
    inner = {k.replace("mixer.", "_fsdp_wrapped_module.mixer.").replace(
        "net.n.", "net._checkpoint_wrapped_module.n."): v for k, v in inner.items()}  # fmt: skip
    state = {"_fsdp_wrapped_module.net.pos": table((4, 6))[None], **kernel("net.cut"), **inner}
    return state, (Truth(("_fsdp_wrapped_module.net.pos",), (4, 6)),)


@first
def words_beside_the_image() -> Layout:
    state = {
        "words.lookup_embedding.weight": small(300, 16), "words.pos": small(20, 16),
        **blocks("words.n.", range(2), dim=16), "pixels.pos": table((4, 6), 1),
        "pixels.cls": small(DIM), **kernel("pixels.cut"), **blocks("pixels.n.", range(3)),
    }  # fmt: skip
    return state, (Truth(("pixels.pos",), (4, 6), rows=1, tokens=1),)


@first
def a_narrow_decoder_with_a_table() -> Layout:
    state = {
        "see.pos": table((4, 6))[None], **kernel("see.cut"), **blocks("see.n.", range(3)),
        "rebuild.mask_token": small(1, 1, 16), "rebuild.pos": table((4, 6), dim=16)[None],
        **linear("rebuild.enter", 16, DIM), **blocks("rebuild.n.", range(2), dim=16),
    }  # fmt: skip
    return state, (
        Truth(("see.pos",), (4, 6)), Truth(("rebuild.pos",), (4, 6), depth=2),
    )  # fmt: skip


@first
def digits_glued_on() -> Layout:
    state = {"pos_code": table((4, 6))[None], **kernel(), **blocks("part{}.", range(1, 5), SPLIT)}
    return state, (Truth(("pos_code",), (4, 6), depth=4),)


@first
def pairs_of_attention_and_network() -> Layout:
    first_half = {"pre": "norm", "body.qkv": "qkv", "body.out": "square"}
    second = {"pre": "norm", "body.0": "up", "body.3": "down"}
    state = {"pos_code": table((4, 6))[None], **kernel(),
             **blocks("n.{}.0.", range(3), first_half),
             **blocks("n.{}.1.", range(3), second)}  # fmt: skip
    return state, (Truth(("pos_code",), (4, 6)),)


@first
def lists_that_run_side_by_side() -> Layout:
    state = {"pos_code": table((4, 6))[None], **kernel(),
             **blocks("norms_a.", range(3), {"n": "norm"}),
             **blocks("attentions.", range(3), {"qkv": "qkv", "out": "square"}),
             **blocks("norms_b.", range(3), {"n": "norm"}),
             **blocks("networks.", range(3), {"0": "up", "2": "down"})}  # fmt: skip
    return state, (Truth(("pos_code",), (4, 6)),)


@first
def down_middle_and_up() -> Layout:
    state = {"pos_code": table((4, 6))[None], **kernel(), **blocks("going_in.", range(2)),
             **blocks("turn{}.", [""]), **blocks("going_out.", range(2))}  # fmt: skip
    state |= {
        k: v for i in range(2) for k, v in linear(f"going_out.{i}.skip", DIM, 2 * DIM).items()
    }
    return state, (Truth(("pos_code",), (4, 6), depth=5),)


@first
def values_contradict_the_square() -> Layout:
    state = {"pos": table((2, 8), 1)[None], "cls": small(1, 1, DIM), **kernel(),
             **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos",), (2, 8), rows=1, tokens=1),)


@first
def narrow_table_ahead_of_a_projection() -> Layout:
    state = {"pos_small": table((4, 6), dim=16)[None], **kernel("cut", 16),
             **linear("widen", DIM, 16), **blocks("n.", range(3))}  # fmt: skip
    return state, (Truth(("pos_small",), (4, 6)),)


@first
def space_and_time() -> Layout:
    state = {"where": table((3, 5), 1)[None], "when_time_pos": table((4,))[None],
             "cls": small(1, 1, DIM), **kernel(), **blocks("n.", range(3))}  # fmt: skip
    state["where_pos"] = state.pop("where")
    return state, (Truth(("where_pos",), (3, 5), rows=1, tokens=1),
                   Truth(("when_time_pos",), None, rows=None, tokens=None, depth=None))  # fmt: skip


@first
def frames_with_a_class_row_each() -> Layout:
    values = np.stack([table((3, 5), 1)] * 4)[None] + small(1, 4, 16, DIM)
    state = {"pos_embedding_frames": values, "space_cls": small(1, 1, DIM),
             **kernel(), **blocks("n.", range(3), PARTS)}  # fmt: skip
    return state, (Truth(("pos_embedding_frames",), (4, 3, 5), rows=None, tokens=None),)
