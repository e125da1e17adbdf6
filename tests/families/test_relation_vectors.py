"""Schemes with a vector for each offset, against the vectors that timm's own modules multiply with.

A module's vector of a pair is found by asking it: with the d-th unit vector as every query, the
logits are the d-th channel of all vectors.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close
from timm.layers.bottleneck_attn import PosEmbedRel
from timm.layers.halo_attn import PosEmbedRel as HaloPosEmbedRel
from timm.layers.lambda_layer import LambdaLayer
from timm.models.coat import ConvRelPosEnc
from timm.models.mvitv2 import cal_rel_pos_type
from timm.models.vision_transformer_sam import get_decomposed_rel_pos_bias

from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding, Relation

DIM = 6


def probed(logits_of, patches):
    """(query, key, channel): what the module multiplies each channel of a query with."""
    queries = torch.eye(DIM)[:, None, :].expand(DIM, patches, DIM)
    return logits_of(queries).detach().numpy().transpose(1, 2, 0)


def cosines_with_itself(vectors):
    itself = vectors[np.arange(len(vectors)), np.arange(len(vectors))]
    dots = np.einsum("qkd,qd->qk", vectors, itself)
    lengths = np.linalg.norm(vectors, axis=2) * np.linalg.norm(itself, axis=1)[:, None]
    return dots / lengths


def maps_of(pe):
    return dict(similarity(pe).layers())


def sam(make, grid=(3, 5), depth=1):
    return {
        f"blocks.{i}.attn.rel_pos_{axis}": make.rand(2 * side - 1, DIM, seed=10 * i + side)
        for i in range(depth)
        for axis, side in zip("hw", grid)
    }


def test_sam_s_tables_are_read_as_stored(make):
    state = sam(make, depth=2) | {"pos_embed": make.rand(1, 6, 7, 8)} | make.deit(depth=2)

    table, pe = extract(make.checkpoint(state))

    assert (table.family, table.grid_size) == ("learned_absolute", (6, 7))
    assert (pe.family, pe.kind, pe.join) == ("decomposed_relative", "relative", "layer")
    assert pe.relation == Relation("sum", "query-key")
    assert [t.name for t in pe.tables] == ["blocks.0.y", "blocks.0.x", "blocks.1.y", "blocks.1.x"]
    assert {t.grid_size for t in pe.tables} == {(3, 5)}
    assert pe.keys[:2] == ("blocks.0.attn.rel_pos_h", "blocks.0.attn.rel_pos_w")
    np.testing.assert_array_equal(pe.tables[3].values, state["blocks.1.attn.rel_pos_w"])
    assert pe.num_parameters == 2 * (5 + 9) * DIM


def test_sam_s_vectors_are_those_that_its_attention_multiplies_queries_with(make):
    state = sam(make)
    rows, columns = map(torch.from_numpy, state.values())
    vectors = probed(lambda q: get_decomposed_rel_pos_bias(q, rows, columns, (3, 5), (3, 5)), 15)

    (pe,) = extract(make.checkpoint(state))

    assert_close(maps_of(pe)["blocks.0"][0], cosines_with_itself(vectors))


def test_mvitv2_s_vectors_are_timm_s_too(make):
    state = {
        "stages.0.blocks.0.attn.rel_pos_h": make.rand(5, DIM, seed=1),
        "stages.0.blocks.0.attn.rel_pos_w": make.rand(9, DIM, seed=2),
    }
    rows, columns = map(torch.from_numpy, state.values())

    def logits(queries):
        zero = torch.zeros(DIM, 1, 15, 15)
        sizes = ([3, 5], [3, 5])
        return cal_rel_pos_type(zero, queries[:, None], False, *sizes, rows, columns)[:, 0]

    (pe,) = extract(make.checkpoint(state))

    assert_close(maps_of(pe)["stages.0.blocks.0"][0], cosines_with_itself(probed(logits, 15)))
    assert any("where queries or keys are pooled" in note for note in pe.notes)


def test_mvitv2_s_stages_have_their_own_grids(make):
    with torch.device("meta"):
        state = timm.create_model("mvitv2_tiny").state_dict()
    state = {key: make.unread(*tensor.shape) for key, tensor in state.items()}

    (pe,) = extract(make.checkpoint(state))

    assert list(dict.fromkeys(t.grid_size for t in pe.tables)) == [
        (56, 56),
        (28, 28),
        (14, 14),
        (7, 7),
    ]


def under(name, module):
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def test_botnet_counts_offsets_from_the_query_to_the_key(make):
    torch.manual_seed(0)
    module = PosEmbedRel((3, 5), DIM, 1.0)
    vectors = probed(module, 15)

    (pe,) = extract(make.checkpoint(under("stages.2.1.self_attn.pos_embed", module)))

    assert (pe.grid_size, pe.relation) == ((3, 5), Relation("sum", "key-query"))
    assert_close(maps_of(pe)["stages.2.1"][0], cosines_with_itself(vectors))


@pytest.mark.parametrize(("block", "halo", "said"), [(8, 2, None), (7, 2, None), (4, 3, (4, 4))])
def test_halonet_s_unused_rows_are_left_out_and_offset_0_is_in_the_middle(make, block, halo, said):
    torch.manual_seed(0)
    window = block + 2 * halo
    module = HaloPosEmbedRel(block, window, DIM, 1.0)
    place = "stages.2.1.self_attn"
    state = under(f"{place}.pos_embed", module) | {f"{place}.kv.weight": make.unread(8, 4, 1, 1)}

    (pe,) = extract(make.checkpoint(state, grid_size=said))

    to_window = probed(lambda q: module(q[:, None])[:, 0], block**2)
    inner = np.s_[halo : halo + block]
    to_block = to_window.reshape(block**2, window, window, DIM)[:, inner, inner]
    vectors = to_block.reshape(block**2, block**2, DIM)
    assert pe.grid_size == (block, block)
    assert_close(maps_of(pe)["stages.2.1"][0], cosines_with_itself(vectors))
    unused = 2 * halo
    assert any(f"the first {unused} of {2 * window - 1} rows" in note for note in pe.notes)


def test_an_architecture_tells_halonet_s_blocks(make):
    with torch.device("meta"):
        state = timm.create_model("haloregnetz_b").state_dict()
    state = {key: make.unread(*tensor.shape) for key, tensor in state.items()}

    (pe,) = extract(make.checkpoint(state, arch="timm:haloregnetz_b"))

    assert any("blocks of 7×7 (from timm:haloregnetz_b)" in note for note in pe.notes)


def test_a_table_without_its_partner_is_half_a_file(make):
    state = sam(make)
    del state["blocks.0.attn.rel_pos_w"]

    with pytest.raises(AmbiguousCheckpoint, match="rel_pos_w beside it is missing"):
        extract(make.checkpoint(state))


def test_an_even_number_of_rows_is_of_another_scheme(make):
    state = sam(make) | {"blocks.0.attn.rel_pos_w": make.rand(8, DIM)}

    message = "has 5 rows, rel_pos_w 8: a table of the offsets 1−S … S−1 has an odd number"
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(state))


def lambda_vectors(layer, grid):
    """(query, key, channel) of a lambda layer's position lambdas: fed one value at a time."""
    patches = grid[0] * grid[1]
    if layer.conv_lambda is None:
        return layer.pos_emb[layer.rel_pos_indices[0], layer.rel_pos_indices[1]].detach().numpy()
    ones = torch.eye(patches).reshape(patches, 1, *grid, 1)
    kernel = torch.nn.functional.conv3d(
        ones, layer.conv_lambda.weight, padding=layer.conv_lambda.padding
    )
    return kernel.reshape(patches, -1, patches).permute(2, 0, 1).detach().numpy()


def test_lambda_layers_with_a_table_for_all_offsets(make):
    torch.manual_seed(0)
    layer = LambdaLayer(16, feat_size=(3, 5), dim_head=DIM, r=None)

    (pe,) = extract(make.checkpoint(under("stages.2.1.self_attn", layer)))

    assert (pe.family, pe.grid_size) == ("lambda_relative", (3, 5))
    assert pe.tables[0].shape == (5 * 9, DIM)
    expected = cosines_with_itself(lambda_vectors(layer, (3, 5)))
    assert_close(maps_of(pe)["stages.2.1"][0], expected)


def test_lambda_layers_with_a_kernel_have_no_vector_beyond_its_reach(make):
    torch.manual_seed(0)
    layer = LambdaLayer(16, dim_head=DIM, r=3)

    (pe,) = extract(make.checkpoint(under("stages.2.1.self_attn", layer), grid_size=(4, 5)))

    vectors = lambda_vectors(layer, (4, 5))
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(cosines_with_itself(vectors))
    shown = maps_of(pe)["stages.2.1"][0]
    assert_close(shown, expected)
    assert (shown == 0).sum() == (np.abs(vectors).sum(2) == 0).sum()
    assert pe.num_parameters == 9 * DIM + DIM


def coat(make):
    torch.manual_seed(0)
    module = ConvRelPosEnc(2, 5, {3: 2, 5: 3})
    state = under("crpe1", module) | under("serial_blocks1.0.factoratt_crpe.crpe", module)
    return module, state


def test_coat_s_kernels_are_counted_once_and_differ_in_size(make):
    module, state = coat(make)

    (pe,) = extract(make.checkpoint(state, grid_size=(4, 6)))

    assert pe.family == "conv_relative"
    assert [t.name for t in pe.tables] == ["crpe1.3x3.yx", "crpe1.5x5.yx"]
    assert pe.num_parameters == sum(p.numel() for p in module.parameters())
    assert pe.relation == Relation(beyond="none")


def test_coat_s_vectors_are_what_its_convolution_adds_for_one_value(make):
    module, state = coat(make)
    (pe,) = extract(make.checkpoint(state, grid_size=(4, 6)))
    one_value = torch.eye(25)[1:, None, :, None].expand(24, 5, 25, 2)  # a value in one patch
    queries = torch.ones(24, 5, 25, 2)
    answer = module(queries, one_value, (4, 6)) - module(queries, 0 * one_value, (4, 6))
    vectors = answer[:, :, 1:].permute(2, 0, 1, 3).flatten(2).detach().numpy()

    for head, channels in enumerate((np.s_[:4], np.s_[4:])):
        with np.errstate(invalid="ignore"):
            expected = np.nan_to_num(cosines_with_itself(vectors[:, :, channels]))
        assert_close(maps_of(pe)["crpe1"][head], expected, operations=32)


def test_a_file_that_kept_only_the_blocks_names_of_shared_kernels_reads_the_same(make):
    _, state = coat(make)
    blocks_only = {name: value for name, value in state.items() if name.startswith("serial")}

    (pe,) = extract(make.checkpoint(state, grid_size=(4, 6)))
    (same,) = extract(make.checkpoint(blocks_only, grid_size=(4, 6)))

    for ours, theirs in zip(pe.tables, same.tables, strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_how_vectors_are_made_survives_being_saved(make, tmp_path):
    (pe,) = extract(make.checkpoint(sam(make)))

    again = PositionEmbedding.open(pe.save(tmp_path / "x.pe.safetensors"))

    assert again.relation == Relation("sum", "query-key")
    np.testing.assert_array_equal(maps_of(again)["blocks.0"], maps_of(pe)["blocks.0"])
