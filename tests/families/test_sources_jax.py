"""Google's .npz archives in their three generations, and a bare .npy table."""

from __future__ import annotations

import numpy as np
import pytest
import timm

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading import Hints, load

DIM, HEADS, DEPTH = 24, 2, 3


@pytest.fixture
def rand():
    rng = np.random.default_rng(0)
    return lambda *shape: rng.normal(0, 0.1, shape).astype(np.float32)


@pytest.fixture
def archive(tmp_path):
    def write(arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        return tmp_path / "x.npz"

    return write


def block(rand, at, second, attention, mlp, stack=()):
    """One encoder block, or a stack of them with a leading axis, as flax names its parts."""
    head = DIM // HEADS
    arrays = {}
    for norm in ("LayerNorm_0", second):
        arrays |= {f"{at}/{norm}/scale": rand(*stack, DIM), f"{at}/{norm}/bias": rand(*stack, DIM)}
    for part in ("query", "key", "value"):
        arrays[f"{at}/{attention}/{part}/kernel"] = rand(*stack, DIM, HEADS, head)
        arrays[f"{at}/{attention}/{part}/bias"] = rand(*stack, HEADS, head)
    arrays[f"{at}/{attention}/out/kernel"] = rand(*stack, HEADS, head, DIM)
    arrays[f"{at}/{attention}/out/bias"] = rand(*stack, DIM)
    for i, (rows, columns) in enumerate(((DIM, 4 * DIM), (4 * DIM, DIM))):
        arrays[f"{at}/{mlp}/Dense_{i}/kernel"] = rand(*stack, rows, columns)
        arrays[f"{at}/{mlp}/Dense_{i}/bias"] = rand(*stack, columns)
    return arrays


def ends(rand, prefix=""):
    return {
        f"{prefix}embedding/kernel": rand(16, 16, 3, DIM),
        f"{prefix}embedding/bias": rand(DIM),
        f"{prefix}Transformer/encoder_norm/scale": rand(DIM),
        f"{prefix}Transformer/encoder_norm/bias": rand(DIM),
    }


def vit_jax(rand, prefix=""):
    arrays = ends(rand, prefix) | {f"{prefix}cls": rand(1, 1, DIM)}
    for i in range(DEPTH):
        at = f"{prefix}Transformer/encoderblock_{i}"
        arrays |= block(rand, at, "LayerNorm_2", "MultiHeadDotProductAttention_1", "MlpBlock_3")
    return arrays


def big_vision(rand, prefix="params/"):
    arrays = ends(rand, prefix)
    for i in range(DEPTH):
        at = f"{prefix}Transformer/encoderblock_{i}"
        arrays |= block(rand, at, "LayerNorm_1", "MultiHeadDotProductAttention_0", "MlpBlock_0")
    return arrays


def scanned(rand, prefix="params/img/"):
    at = f"{prefix}Transformer/encoderblock"
    names = ("LayerNorm_1", "MultiHeadDotProductAttention_0", "MlpBlock_0")
    return ends(rand, prefix) | block(rand, at, *names, stack=(DEPTH,))


def as_timm_reads(path, **options):
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=DIM, num_heads=HEADS, depth=DEPTH,
        num_classes=0, **options,
    )  # fmt: skip
    timm.models.load_checkpoint(model, str(path))
    return model


def check(pe, model):
    assert np.array_equal(pe.tables[0].values, model.pos_embed[0].detach().numpy())
    assert (pe.grid_size, pe.num_prefix_rows, pe.depth) == (
        (4, 4),
        model.pos_embed.shape[1] - 16,
        3,
    )
    modules = dict(model.named_modules())
    assert len(pe.norms) >= 2 * DEPTH + 1
    for norm in (norm for norm in pe.norms if norm.path in modules):
        module = modules[norm.path]
        assert np.array_equal(norm.weight, module.weight.detach().numpy())
        assert np.array_equal(norm.bias, module.bias.detach().numpy())
        assert norm.eps == module.eps


def test_vit_jax_files_are_read_as_timm_reads_them(rand, archive):
    table = {"Transformer/posembed_input/pos_embedding": rand(1, 17, DIM)}
    path = archive(vit_jax(rand) | table)

    (pe,) = extract(load(path))

    check(pe, as_timm_reads(path))
    assert pe.patch_size == (16, 16)


def test_old_big_vision_files_keep_the_optimizer_beside_the_weights(rand, archive):
    arrays = vit_jax(rand, "opt/target/")
    arrays |= {"opt/target/Transformer/posembed_input/pos_embedding": rand(1, 17, DIM)}
    path = archive(arrays | {"opt/state/step": np.int32(3)})

    (pe,) = extract(load(path))

    check(pe, as_timm_reads(path))
    assert pe.keys == ("opt/target/Transformer/posembed_input/pos_embedding",)


def test_new_big_vision_files_have_a_class_token_without_a_row(rand, archive):
    arrays = big_vision(rand) | {
        "params/pos_embedding": rand(1, 16, DIM),
        "params/cls": rand(1, 1, DIM),
    }

    (pe,) = extract(load(archive(arrays)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((4, 4), 0, 1)
    assert len(pe.norms) == 2 * DEPTH + 1


def two_towers(rand):
    arrays = scanned(rand) | {"params/img/pos_embedding": rand(1, 16, DIM), "params/t": rand(1)}
    arrays |= {
        "params/img/MAPHead_0/probe": rand(1, 1, DIM),
        "params/img/MAPHead_0/LayerNorm_0/scale": rand(DIM),
        "params/img/MAPHead_0/LayerNorm_0/bias": rand(DIM),
        "params/txt/pos_embedding": rand(1, 11, DIM),
        "params/txt/Embed_0/embedding": rand(50, DIM),
        "params/txt/Encoder_0/encoder_norm/scale": rand(DIM),
        "params/txt/Encoder_0/encoder_norm/bias": rand(DIM),
    }
    at = "params/txt/Encoder_0/encoderblock"
    names = ("LayerNorm_1", "MultiHeadDotProductAttention_0", "MlpBlock_0")
    return arrays | block(rand, at, *names, stack=(2,))


def test_blocks_that_scan_stacked_have_their_norms_each(rand, archive):
    arrays = two_towers(rand)

    (pe,) = extract(load(archive(arrays)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.depth) == ((4, 4), 0, DEPTH)
    paths = [f"blocks.{i}.{name}" for i in range(DEPTH) for name in ("norm1", "norm2")]
    assert [norm.path for norm in pe.norms] == [*paths, "attn_pool.norm", "norm"]
    stacked = arrays["params/img/Transformer/encoderblock/LayerNorm_1/bias"]
    assert np.array_equal(pe.norms[5].bias, stacked[2])
    assert {norm.eps for norm in pe.norms} == {1e-6}
    assert any("Transformer/encoderblock holds 3 blocks in one array each" in n for n in pe.notes)
    assert any("took the vision tower" in note for note in pe.notes)


def test_a_stack_counts_all_its_parameters(rand, archive):
    arrays = scanned(rand) | {"params/img/pos_embedding": rand(1, 16, DIM)}

    assert load(archive(arrays)).num_parameters == sum(array.size for array in arrays.values())


def test_the_text_tower_of_an_archive_is_read_when_it_is_asked_for(rand, archive):
    arrays = two_towers(rand)

    (pe,) = extract(load(archive(arrays), tower="text"))

    assert (pe.grid_size, pe.depth) == ((1, 11), 2)
    assert np.array_equal(pe.tables[0].values, arrays["params/txt/pos_embedding"][0])


def as_bfloat16(array):
    """The upper half of every number, as numpy keeps a type that it does not know."""
    return (array.view(np.uint32) >> 16).astype(np.uint16).view("V2")


def test_naflex_tables_have_a_grid_of_their_own_and_half_precision(rand, archive):
    table = (rand(3, 5, DIM).view(np.uint32) & 0xFFFF0000).view(np.float32)
    arrays = scanned(rand) | {"params/img/pos_embedding": as_bfloat16(table)}
    arrays["params/img/embedding/kernel"] = rand(768, DIM)

    (pe,) = extract(load(archive(arrays)))

    assert (pe.grid_size, pe.num_prefix_rows) == ((3, 5), 0)
    assert np.array_equal(pe.tables[0].values, table.reshape(15, DIM))
    assert any("read as bfloat16" in note for note in pe.notes)


def test_a_bare_table_needs_its_grid(rand, tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, table := rand(12, DIM))

    message = r"12 rows: 0 prefix \+ 3×4, 4×3, 2×6, 6×2, 1×12, or 1 \+ 1×11\. Each is chosen by"
    with pytest.raises(AmbiguousCheckpoint, match=message):
        extract(load(path))
    (pe,) = extract(load(path, hints=Hints(grid_size=(3, 4))))
    assert (pe.grid_size, pe.num_prefix_rows) == ((3, 4), 0)
    assert np.array_equal(pe.tables[0].values, table)


def test_a_bare_table_of_three_axes_shows_its_grid(rand, tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, rand(3, 5, DIM))

    (pe,) = extract(load(path))

    assert (pe.grid_size, pe.num_prefix_rows) == ((3, 5), 0)
