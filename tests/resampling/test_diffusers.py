"""Stored tables of diffusion models against diffusers' own objects, where that is installed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch
from closeness import assert_close

import pe_inspect as pei
from pe_inspect.resampling.methods import methods
from pe_inspect.resampling.one_size import ONE_SIZE

models = pytest.importorskip("diffusers.models")

pytestmark = pytest.mark.filterwarnings("ignore")

SIDE, WIDTH = 12, 16


def patches_of_sd3():
    from diffusers.models.embeddings import PatchEmbed

    return PatchEmbed(16, 16, patch_size=2, embed_dim=WIDTH, pos_embed_max_size=SIDE)


def patches_of_auraflow():
    from diffusers.models.transformers.auraflow_transformer_2d import AuraFlowPatchEmbed

    return AuraFlowPatchEmbed(16, 16, 2, 16, WIDTH, pos_embed_max_size=SIDE**2)


def patches_of_omnigen():
    from diffusers.models.transformers.transformer_omnigen import OmniGenPatchEmbed

    return OmniGenPatchEmbed(embed_dim=WIDTH, pos_embed_max_size=SIDE)


OWN = {
    "SD3Transformer2DModel": (patches_of_sd3, lambda m, h, w: m.cropped_pos_embed(h, w)),
    "SD3ControlNetModel": (patches_of_sd3, lambda m, h, w: m.cropped_pos_embed(h, w)),
    "OmniGenTransformer2DModel": (patches_of_omnigen, lambda m, h, w: m._cropped_pos_embed(h, w)),
    "AuraFlowTransformer2DModel": (
        patches_of_auraflow,
        lambda m, h, w: m.pos_embed[:, m.pe_selection_index_based_on_dim(h, w)],
    ),
}


def read(state, config):
    checkpoint = pei.Checkpoint.from_state_dict(
        state, source="x", hints=pei.Hints(grid_size=(SIDE, SIDE), num_prefix_tokens=0)
    )
    checkpoint.metadata["config"] = config
    (pe,) = pei.extract(checkpoint)
    return pe


def state_of(own):
    torch.manual_seed(0)
    torch.nn.init.normal_(own.pos_embed)
    return {
        "pos_embed.pos_embed": own.pos_embed.detach(),
        "pos_embed.proj.weight": torch.randn(WIDTH, 16, 2, 2),
        "transformer_blocks.0.attn.to_q.weight": torch.randn(WIDTH, WIDTH),
    }


@pytest.mark.parametrize("grid", [(5, 8), (6, 3), (12, 1)])
@pytest.mark.parametrize("name", OWN)
def test_a_diffusion_model_s_table_is_cut_as_its_own_object_cuts_it(name, grid):
    make, ask = OWN[name]
    own = make()

    result = pei.interpolate(read(state_of(own), {"_class_name": name}), grid=grid)

    with torch.no_grad():
        theirs = ask(own, 2 * grid[0], 2 * grid[1])[0].numpy()
    assert result.origin.is_known
    assert_close(result.values()[0], theirs)


def test_a_file_alone_does_not_tell_which_model_of_diffusers_it_is():
    result = pei.interpolate(read(state_of(patches_of_sd3()), {}), grid=(5, 8))

    assert not result.origin.is_known


@pytest.mark.sweep
def test_every_model_of_diffusers_that_stores_a_table_of_patches_has_a_rule():
    """Computed: the classes are those of its modules, built without memory, a layer each."""
    known = {each for method in methods.values() for each in method.model_types} | set(ONE_SIZE)
    found = {name for name, made in built().items() if stores_patches(made)}

    assert {"SD3Transformer2DModel", "SD3ControlNetModel", "AuraFlowTransformer2DModel"} <= found
    assert found - known == set()


def stores_patches(model):
    return any(
        key.endswith("pos_embed.pos_embed") and value.ndim == 3
        for key, value in model.state_dict().items()
    )


def built():
    from diffusers.models.modeling_utils import ModelMixin

    made = {}
    for each in pkgutil.walk_packages(models.__path__, "diffusers.models."):
        try:
            module = importlib.import_module(each.name)
        except Exception:  # it needs a library that is not here
            continue
        for name, kind in vars(module).items():
            if (
                inspect.isclass(kind)
                and issubclass(kind, ModelMixin)
                and kind.__module__ == each.name
            ):
                made[name] = on_meta(kind)
    return {name: model for name, model in made.items() if model is not None}


def on_meta(kind):
    takes = inspect.signature(kind.__init__).parameters
    few = {name: 1 for name in takes if name.startswith("num_") and name.endswith("layers")}
    if "pos_embed_max_size" in takes:
        few["pos_embed_max_size"] = takes["pos_embed_max_size"].default or SIDE
    try:
        with torch.device("meta"):
            return kind(**few)
    except Exception:  # its defaults make no model
        return None
