"""Every architecture of timm that carries position, against what its own object says.

Our reading sees the names and shapes of a state dict only, and must come to what the object says
(timm_objects.py). All names of `timm.list_models()` are read: 1371 in timm 1.0.31, in which its 209
deprecated aliases are not counted. That takes minutes (`pytest -m "not sweep"` leaves it out), so
it is cut into parts that workers share. timm_representatives.txt names of each module the smallest
of each class and form of position: those are read first, and one by one. The sweep checks that
list, and `python tests/families/test_timm_sweep.py` writes it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import timm
import torch

from pe_inspect.errors import NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.loading.checkpoint import Checkpoint, Hints, StoredTensor


def load(name):
    """Import a file of this folder, which is no package."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Scheme = load("timm_modules").Scheme
objects = load("timm_objects")
REPRESENTATIVES = Path(__file__).with_name("timm_representatives.txt")
UNTOLD = ("rotary", "bias_network")  # what no file tells of these, `--arch` does
PARTS = 8
ON_ANY_GRID = ("conditional", "conv_relative", "fourier")  # and of these, their grid


def checkpoint_of(name, model, **hints):
    """The model's state dict: names, shapes and which are tied, but no values."""
    tensors = {
        key: StoredTensor(
            key,
            tuple(value.shape),
            str(value.dtype).removeprefix("torch."),
            lambda value=value: np.zeros(
                tuple(value.shape), np.float32 if value.is_floating_point() else np.int64
            ),
            storage=id(value),
        )
        for key, value in model.state_dict(keep_vars=True).items()
    }
    return Checkpoint(name, None, "state_dict", tensors, Hints(**hints))


def reading(checkpoint, like):
    """What we find, in the form of what the object says, and as far as that goes."""
    try:
        found = extract(checkpoint)
    except NoPositionEmbedding:
        return [], set()
    grids, shapes = ({s.family for s in like if getattr(s, it)} for it in ("grids", "shapes"))
    read = [_as_scheme(pe, pe.family in grids, pe.family in shapes) for pe in found]
    return read, {pe.num_prefix_tokens for pe in found}


def _as_scheme(pe, has_grids, has_shapes):
    return Scheme(
        pe.family,
        pe.kind,
        pe.keys,
        tuple(table.grid_size for table in pe.tables) if has_grids else (),
        tuple(table.shape for table in pe.tables) if has_shapes else (),
        pe.num_prefix_rows if has_grids else 0,
        pe.num_parameters,
    )


def in_order(schemes):
    """Names sorted; tables keep their order."""
    sorted_names = (replace(scheme, keys=tuple(sorted(scheme.keys))) for scheme in schemes)
    return sorted(sorted_names, key=lambda scheme: (scheme.family, scheme.keys, scheme.grids))


def check(name, model):
    said = objects.schemes_of(model)
    is_untold = any(
        scheme.family in UNTOLD or (scheme.family in ON_ANY_GRID and scheme.grids)
        for scheme in said
    )
    checkpoint = checkpoint_of(name, model, arch=f"timm:{name}" if is_untold else None)
    found, tokens = reading(checkpoint, like=said)
    assert in_order(found) == in_order(said)
    assert tokens <= {objects.tokens_of(model, said)}
    if {scheme.family for scheme in said} >= {"rotary", "learned_absolute"}:
        assert tells_of_rotations(checkpoint_of(name, model))


def tells_of_rotations(checkpoint):
    """Whether what is read beside the table says that q and k are, or may be, rotated."""
    found = extract(checkpoint)
    return any(pe.family == "rotary" or any("rotat" in n for n in pe.notes) for pe in found)


def described(name, model):
    """The model's name, its form, and its size."""
    size = sum(parameter.numel() for parameter in model.parameters())
    return name, (timm.model_entrypoint(name).__module__, objects.form(model)), size


@cache
def chosen():
    """Form → (parameters, name) of each representative."""
    models = (described(n, objects.build(n)) for n in REPRESENTATIVES.read_text().split())
    return {form: (size, name) for name, form, size in models}


def sweep(names):
    """Check architectures; return the misses, and what describes each."""
    misses, models = {}, []
    for name in names:
        model = objects.build(name)
        try:
            check(name, model)
        except Exception as error:
            misses[name] = f"{type(error).__name__}: {error}"
        models.append(described(name, model))
    return misses, models


@pytest.mark.parametrize("name", REPRESENTATIVES.read_text().split())
def test_a_representative_of_every_class_is_read_as_its_object_says(name):
    check(name, objects.build(name))


@pytest.mark.parametrize("name", ["eva02_base_patch14_224", "qwen3_vit_88m_merge"])
def test_a_table_of_a_model_that_also_rotates_is_read_with_a_note(name):
    assert tells_of_rotations(checkpoint_of(name, objects.build(name)))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_base_patch16_siglip_gap_224"])
def test_a_plain_table_is_read_without_one(name):
    assert not tells_of_rotations(checkpoint_of(name, objects.build(name)))


def test_every_module_of_timm_is_represented():
    modules = {timm.model_entrypoint(name).__module__ for name in timm.list_models()}
    chosen = REPRESENTATIVES.read_text().split()
    assert {timm.model_entrypoint(name).__module__ for name in chosen} == modules


def test_a_parameter_that_is_called_a_position_and_that_no_type_claims_is_told():
    model = torch.nn.Linear(1, 1)
    model.register_parameter("pos_embed", torch.nn.Parameter(torch.zeros(1, 5, 8)))
    with pytest.raises(AssertionError, match=r"no type claims \['pos_embed'\]"):
        objects.schemes_of(model)


def test_no_two_representatives_are_of_one_form():
    assert len(chosen()) == len(REPRESENTATIVES.read_text().split())


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_architecture_of_timm_is_read_as_its_object_says(part):
    names = [name for name in timm.list_models() if crc32(name.encode()) % PARTS == part]
    misses, models = sweep(names)
    assert misses == {}
    unlisted = [n for n, form, size in models if (size, n) < chosen().get(form, (math.inf, ""))]
    assert unlisted == []


if __name__ == "__main__":
    misses, models = sweep(timm.list_models())
    REPRESENTATIVES.write_text("\n".join(objects.represented(models)) + "\n")
    sys.exit("\n".join(f"{name}: {why}" for name, why in misses.items()) or None)
