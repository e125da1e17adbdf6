"""Position without a table: depthwise convolutions and Fourier features, against timm's modules."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.coat import ConvPosEnc as CoatConvPosEnc
from timm.models.csatv2 import PosConv as CsatPosConv
from timm.models.davit import ConvPosEnc as DavitConvPosEnc
from timm.models.edgenext import PositionalEncodingFourier as EdgeNextFourier
from timm.models.fastvit import RepConditionalPosEnc
from timm.models.twins import PosConv
from timm.models.xcit import PositionalEncodingFourier

from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.families.reading.kernels import padding_share, response

GRID = (3, 5)


def under(name, module):
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def tokens(image):
    return image.flatten(2).transpose(1, 2)


def added_to_ones(module, dim, *, takes_image=False, prefix=0):
    """What timm's module adds to tokens that are all ones, (patches, channels)."""
    image = torch.ones(1, dim, *GRID)
    if takes_image:
        answer = tokens(module(image))
    else:
        ones = torch.ones(1, prefix + GRID[0] * GRID[1], dim)
        answer = module(ones, GRID)[:, prefix:]
    return (answer - tokens(image))[0].detach().numpy()


MODULES = [
    ("pos_block.2", PosConv(6, 6), {}, "pos_block.2"),
    ("cpe3", CoatConvPosEnc(6), {"prefix": 1}, "cpe3"),
    ("stages.1.0.cpe2", DavitConvPosEnc(6), {"takes_image": True}, "stages.1.0.cpe2"),
    ("stages.2.3.pos_embed", CsatPosConv(6), {}, "stages.2.3"),
    ("stages.3.pos_emb", RepConditionalPosEnc(6), {"takes_image": True}, "stages.3"),
    (
        "stages.3.pos_emb",
        RepConditionalPosEnc(6, inference_mode=True),
        {"takes_image": True},
        "stages.3",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "module", "how", "layer"), MODULES)
def test_the_embedding_is_what_the_module_adds_to_an_input_of_ones(make, name, module, how, layer):
    (pe,) = extract(make.checkpoint(under(name, module), grid_size=GRID))

    assert (pe.family, pe.kind, pe.join) == ("conditional", "function", "layer")
    assert (pe.tables[0].name, pe.grid_size, pe.num_heads) == (layer, GRID, None)
    assert_close(pe.tables[0].values, added_to_ones(module, 6, **how))
    assert pe.num_parameters == sum(p.numel() for p in module.parameters())
    folded = "the skip connection that reparameterisation folded in was taken out"
    assert (folded in pe.notes) is (getattr(module, "reparam_conv", None) is not None)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from([1, 3, 5, 7]),
    st.integers(0, 99),
)
def test_zero_padding_is_torchs_and_circular_padding_leaves_no_position(grid, size, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(4, 1, size, size)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    ones = torch.ones(1, 4, *grid)
    expected = torch.nn.functional.conv2d(
        ones, torch.from_numpy(kernel), torch.from_numpy(bias), padding=size // 2, groups=4
    )

    ablated = response(kernel, bias, grid, "circular")

    assert_close(response(kernel, bias, grid), tokens(expected)[0], operations=32)
    assert np.all(ablated == ablated[0])
    if min(grid) >= size // 2:
        wrapped = torch.nn.functional.pad(ones, (size // 2,) * 4, mode="circular")
        around = torch.nn.functional.conv2d(
            wrapped, torch.from_numpy(kernel), torch.from_numpy(bias), groups=4
        )
        assert_close(ablated, tokens(around)[0], operations=32)


def test_a_kernel_of_one_pixel_has_no_border_and_so_no_position():
    kernel, bias = np.ones((2, 1, 1, 1), np.float32), np.zeros(2, np.float32)

    assert padding_share(kernel, bias, (3, 4)) == 0
    assert padding_share(0 * kernel, bias, (3, 4)) == 0


def test_only_patches_near_the_border_are_told_apart(make):
    kernel = {"pos_block.0.proj.0.weight": make.rand(8, 1, 3, 3)}

    (pe,) = extract(make.checkpoint(kernel, grid_size=(5, 6)))

    values = pe.tables[0].values.reshape(5, 6, 8)
    assert np.ptp(values[1:-1, 1:-1].reshape(-1, 8), axis=0).max() < 1e-7
    ((name, maps),) = similarity(pe).layers()
    assert name == "pos_block.0"
    assert maps[0][0, 7] < 0.999 < maps[0][7, 8]
    assert any("with circular padding every patch gets the same" in note for note in pe.notes)


def test_the_grid_is_14_by_14_unless_something_says_one(make):
    state = {"pos_block.0.proj.0.weight": make.rand(4, 1, 3, 3)}

    (pe,) = extract(make.checkpoint(state))

    assert pe.grid_size == (14, 14)
    said = "what the convolutions add to an input of ones on a 14×14 grid, for it runs on any "
    assert f"{said}(--grid-size, --arch)" in pe.notes


def test_an_architecture_tells_the_grid_of_every_stage(make):
    with torch.device("meta"):
        state = timm.create_model("twins_svt_small").state_dict()
    state = {key: make.unread(*tensor.shape) for key, tensor in state.items()}

    (pe,) = extract(make.checkpoint(state, arch="timm:twins_svt_small"))
    (wide,) = extract(make.checkpoint(state, arch="timm:twins_svt_small", img_size=(224, 448)))

    assert [table.grid_size for table in pe.tables] == [(56, 56), (28, 28), (14, 14), (7, 7)]
    assert wide.tables[3].grid_size == (7, 14)


def test_coat_has_convolutions_of_both_sorts_and_shared_ones_count_once(make):
    model = timm.create_model("coat_tiny")

    relative, added = extract(make.checkpoint(model.state_dict(), grid_size=GRID))

    assert (relative.family, added.family) == ("conv_relative", "conditional")
    assert [table.layer for table in added.tables] == ["cpe1", "cpe2", "cpe3", "cpe4"]
    stages = [model.cpe1, model.cpe2, model.cpe3, model.cpe4]
    assert added.num_parameters == sum(p.numel() for m in stages for p in m.parameters())
    stages = [model.crpe1, model.crpe2, model.crpe3, model.crpe4]
    assert relative.num_parameters == sum(p.numel() for m in stages for p in m.parameters())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("patch_embed.pos_embed.proj.weight", (8, 8, 3, 3)),  # no depthwise kernel
        ("layers.0.proj.0.weight", (8, 1, 3, 3)),  # no name of position
        ("pos_block.0.proj.0.weight", (8, 1, 2, 2)),  # no middle
        ("stages.0.pos_embed.proj.weight", (8, 8)),
    ],
)
def test_other_convolutions_are_not_mistaken(make, name, shape):
    with pytest.raises(NoPositionEmbedding):
        extract(make.checkpoint({name: make.unread(*shape), "other": make.rand(2)}))


def test_a_convolution_over_time_as_well_is_not_read(make):
    state = {"blocks.0.pos_embed.weight": make.unread(8, 1, 3, 3, 3)}

    with pytest.raises(NoPositionEmbedding, match=r"does not read: blocks\.0\.pos_embed\.weight"):
        extract(make.checkpoint(state))


@pytest.mark.parametrize("shape", [(9,), (1,), ()])
def test_a_bias_of_another_width_contradicts_its_kernel(make, shape):
    at = "pos_block.0.proj.0"
    state = {f"{at}.weight": make.rand(8, 1, 3, 3), f"{at}.bias": np.zeros(shape, np.float32)}

    with pytest.raises(AmbiguousCheckpoint) as caught:
        extract(make.checkpoint(state, grid_size=GRID))

    assert f"{at}.weight (8, 1, 3, 3), {at}.bias {shape}. They act together" in str(caught.value)


@pytest.mark.parametrize("part", ["weight", "bias", "running_mean", "running_var"])
def test_a_batch_norm_of_another_width_contradicts_its_kernel(make, part):
    at = "stages.0.0.cpe.module"
    state = {f"{at}.bn.{name}": make.rand(8) for name in torch.nn.BatchNorm2d(8).state_dict()}
    state |= {f"{at}.c.weight": make.rand(8, 1, 3, 3), f"{at}.bn.{part}": make.rand(9)}

    with pytest.raises(AmbiguousCheckpoint) as caught:
        extract(make.checkpoint(state, grid_size=GRID))

    assert f"{at}.c.weight (8, 1, 3, 3), {at}.bn.{part} (9,)." in str(caught.value)


@pytest.mark.parametrize("name", ["pos_embed", "pos_embeder"])
def test_xcit_s_fourier_features_are_timm_s(make, name):
    torch.manual_seed(0)
    module = PositionalEncodingFourier(hidden_dim=32, dim=12)

    (pe,) = extract(make.checkpoint(under(name, module), grid_size=GRID))

    expected = tokens(module(1, *GRID))[0].detach().numpy()
    assert (pe.family, pe.kind, pe.join) == ("fourier", "function", "input")
    assert (pe.tables[0].layer, pe.grid_size) == ("input", GRID)
    assert_close(pe.tables[0].values, expected)
    assert pe.num_parameters == sum(p.numel() for p in module.parameters())


def test_edgenext_has_them_in_one_block(make):
    torch.manual_seed(0)
    module = EdgeNextFourier(hidden_dim=16, dim=12)

    (pe,) = extract(make.checkpoint(under("stages.1.blocks.1.pos_embd", module), grid_size=GRID))

    expected = tokens(module((1, *GRID)))[0].detach().numpy()
    assert (pe.tables[0].layer, pe.join) == ("stages.1.blocks.1", "layer")
    assert_close(pe.tables[0].values, expected)


def test_an_architecture_tells_xcit_s_grid(make):
    model = timm.create_model("xcit_nano_12_p8_224")

    (pe,) = extract(make.checkpoint(model.state_dict(), arch="timm:xcit_nano_12_p8_224"))

    assert pe.grid_size == (28, 28)
    assert similarity(pe).summary()["neighbours"] > similarity(pe).summary()["far"]
