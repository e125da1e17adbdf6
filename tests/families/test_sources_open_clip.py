"""open_clip's state dicts, and OpenAI's: two towers, whose image table is the ordinary answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from safetensors.torch import save_file

from pe_inspect.families import extract
from pe_inspect.loading import load

TEXT = {"context_length": 11, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}
VIT = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": (48, 64)}


def built(vision, kind=CLIP):
    torch.manual_seed(0)
    return kind(8, CLIPVisionCfg(**vision), CLIPTextCfg(**TEXT))


@pytest.fixture
def hub(tmp_path):
    """Return a function that writes open_clip's folder: weights and open_clip_config.json."""

    def write(model, vision):
        tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(tensors, tmp_path / "open_clip_model.safetensors")
        config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": TEXT}}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        return tmp_path

    return write


def test_the_image_table_is_taken_and_its_grid_is_that_of_the_config(hub):
    model = built(VIT)

    (pe,) = extract(load(hub(model, VIT)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.depth) == ((3, 4), 1, 2)
    theirs = model.visual.positional_embedding.detach().numpy()
    assert np.array_equal(pe.tables[0].values, theirs)
    assert pe.norms[0].path == "norm_pre"
    assert {norm.eps for norm in pe.norms} == {model.visual.ln_pre.eps}


def test_the_text_table_is_read_when_it_is_asked_for(hub):
    model = built(VIT)

    (pe,) = extract(load(hub(model, VIT), tower="text"))

    assert (pe.grid_size, pe.num_prefix_rows) == ((1, 11), 0)
    assert np.array_equal(pe.tables[0].values, model.positional_embedding.detach().numpy())
    assert [norm.path for norm in pe.norms][-1] == "norm"


def test_a_fixed_table_is_known_by_its_values(hub):
    vision = VIT | {"image_size": 64, "pos_embed_type": "sin_cos_2d"}
    (pe,) = extract(load(hub(built(vision), vision)))

    assert (pe.family, pe.grid_size, pe.num_prefix_rows) == ("sinusoidal_2d", (4, 4), 1)


def test_a_resnet_has_a_table_in_its_attention_pool(hub):
    vision = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 96}
    model = built(vision)

    (pe,) = extract(load(hub(model, vision)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.tables[0].layer) == ((3, 3), 1, "attnpool")
    theirs = model.visual.attnpool.positional_embedding.detach().numpy()
    assert np.array_equal(pe.tables[0].values, theirs)
    assert pe.patch_size is None


@pytest.mark.filterwarnings("ignore")
def test_a_trunk_of_timm_s_is_read_as_timm_s(hub):
    vision = {"timm_model_name": "test_vit", "timm_pool": "token", "image_size": 160}
    model = built(vision, CustomTextCLIP)
    folder = hub(model, vision)

    (pe,) = extract(load(folder))
    (text,) = extract(load(folder, tower="text"))

    assert (pe.grid_size, pe.num_prefix_rows, pe.architecture) == ((10, 10), 1, "test_vit")
    assert np.array_equal(pe.tables[0].values, model.visual.trunk.pos_embed[0].detach().numpy())
    assert np.array_equal(text.tables[0].values, model.text.positional_embedding.detach().numpy())


@pytest.mark.filterwarnings("ignore")
def test_openai_s_own_files_are_programs_whose_parameters_are_read(tmp_path):
    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.positional_embedding = torch.nn.Parameter(torch.zeros(13, 8))

        def forward(self, x):
            return x + self.positional_embedding

    torch.jit.script(Tower()).save(str(tmp_path / "ViT-B-32.pt"))

    ckpt = load(tmp_path / "ViT-B-32.pt")
    assert (ckpt.format, ckpt.shape("positional_embedding")) == ("torchscript", (13, 8))
