"""Every architecture of timm that carries position, against what its own object says.

Our reading sees the names and shapes of a state dict only, and must come to what the object says
(timm_objects.py). The whole takes minutes (`pytest -m sweep`). Everywhere else the architectures
named in timm_representatives.txt are read: of each module, the smallest of each class and form of
position. The sweep checks that list, and `python tests/families/test_timm_sweep.py` writes it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

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


objects = load("timm_objects")
REPRESENTATIVES = Path(__file__).with_name("timm_representatives.txt")
UNTOLD = ("rotary", "bias_network")  # what no file tells of these, `--arch` does


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
    on_a_grid = {scheme.family for scheme in like if scheme.grids}
    return [_as_scheme(pe, on_a_grid) for pe in found], {pe.num_prefix_tokens for pe in found}


def _as_scheme(pe, on_a_grid):
    scheme = objects.Scheme(pe.family, pe.kind, pe.keys, parameters=pe.num_parameters)
    if pe.family not in on_a_grid:
        return scheme
    grids, shapes = zip(*((table.grid_size, table.shape) for table in pe.layers), strict=True)
    return replace(scheme, grids=grids, shapes=shapes, rows=pe.num_prefix_rows)


def in_order(schemes):
    """Names sorted; tables keep their order."""
    sorted_names = (replace(scheme, keys=tuple(sorted(scheme.keys))) for scheme in schemes)
    return sorted(sorted_names, key=lambda scheme: (scheme.family, scheme.keys, scheme.grids))


def check(name, model):
    said = objects.schemes_of(model)
    is_untold = any(scheme.family in UNTOLD for scheme in said)
    checkpoint = checkpoint_of(name, model, arch=f"timm:{name}" if is_untold else None)
    found, tokens = reading(checkpoint, like=said)
    assert in_order(found) == in_order(said)
    assert tokens <= {objects.tokens_of(model, said)}


def sweep():
    """Check every architecture; return the misses, and the representatives."""
    misses, models = {}, []
    for name in timm.list_models():
        model = objects.build(name)
        try:
            check(name, model)
        except Exception as error:
            misses[name] = f"{type(error).__name__}: {error}"
        size = sum(parameter.numel() for parameter in model.parameters())
        module = timm.model_entrypoint(name).__module__
        models.append((name, (module, objects.form(model)), size))
    return misses, objects.represented(models)


@pytest.mark.parametrize("name", REPRESENTATIVES.read_text().split())
def test_a_representative_of_every_class_is_read_as_its_object_says(name):
    check(name, objects.build(name))


def test_every_module_of_timm_is_represented():
    modules = {timm.model_entrypoint(name).__module__ for name in timm.list_models()}
    chosen = REPRESENTATIVES.read_text().split()
    assert {timm.model_entrypoint(name).__module__ for name in chosen} == modules


def test_a_parameter_that_is_called_a_position_and_that_no_type_claims_is_told():
    model = torch.nn.Linear(1, 1)
    model.register_parameter("pos_embed", torch.nn.Parameter(torch.zeros(1, 5, 8)))
    with pytest.raises(AssertionError, match=r"no type claims \['pos_embed'\]"):
        objects.schemes_of(model)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_every_architecture_of_timm_is_read_as_its_object_says():
    misses, representatives = sweep()
    assert misses == {}
    assert representatives == REPRESENTATIVES.read_text().split()


if __name__ == "__main__":
    misses, representatives = sweep()
    REPRESENTATIVES.write_text("\n".join(representatives) + "\n")
    sys.exit("\n".join(f"{name}: {why}" for name, why in misses.items()) or None)
