"""Every reader, and what reads settings, on files that went astray: a value or a plain line.

200 files a reader; `make nightly` asks 100,000 (`PE_INSPECT_FUZZ=100000`).
"""

from __future__ import annotations

import argparse
import json
import os

import pytest
from hostile.corpus import extraction
from hostile.seeds import JSON, PROGRAMS, SEEDS, STATE, astray
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.errors import PEInspectError
from pe_inspect.families import extract
from pe_inspect.loading import load
from pe_inspect.loading.hints import _FIELDS, hints_from
from pe_inspect.training.recipe import _RECIPE_TYPES, Recipe

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers beyond measure
EXAMPLES = int(os.environ.get("PE_INSPECT_FUZZ", "200"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 200,
    database=None,
    phases=[Phase.explicit, Phase.generate] if EXAMPLES <= 200 else list(Phase),
    suppress_health_check=list(HealthCheck),
)


def ends_plainly(ask, *arguments):
    """Whatever is asked is answered, or refused in one to three plain lines with a code."""
    try:
        ask(*arguments)
    except PEInspectError as error:
        said, code = str(error), error.exit_code
    else:
        return
    assert code in (2, 3, 4, 5)
    assert 0 < len(said.splitlines()) <= 8
    assert len(said) < 4000


def _everything(path):
    checkpoint = load(path)
    for key in checkpoint:
        ends_plainly(checkpoint.tensor, key)
    return extract(checkpoint)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_that_went_astray_is_read_or_refused(seed, tmp_path):
    path = tmp_path / seed

    @fuzzed
    @given(content=astray(SEEDS[seed]))
    def ask(content):
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        ends_plainly(_everything, path)

    ask()


@pytest.mark.filterwarnings("ignore")  # of the writers
@pytest.mark.parametrize("seed", PROGRAMS)
def test_a_program_that_went_astray_is_read_or_refused(seed, tmp_path):
    path, content = tmp_path / seed, PROGRAMS[seed]()

    @settings(fuzzed, max_examples=EXAMPLES if EXAMPLES > 200 else 30)
    @given(changed=astray(content))
    def ask(changed):
        path.unlink(missing_ok=True)
        path.write_bytes(changed)
        ends_plainly(_everything, path)

    ask()


_KEYS = [
    *sorted({key.rpartition(".")[2] for keys, _ in _FIELDS.values() for key in keys}),
    "model_type", "vision_config", "architecture", "architectures", "model_args", "pretrained_cfg",
    "model", "recipe", "metrics", "args", "quantization_config", "num_registers", "data",
]  # fmt: skip
SETTINGS = st.dictionaries(st.sampled_from(_KEYS), JSON, max_size=6)


def test_a_configuration_that_went_astray_is_read_or_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(save(STATE))

    @settings(fuzzed, max_examples=max(EXAMPLES // 8, 25))
    @given(config=SETTINGS)
    def ask(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        ends_plainly(_everything, tmp_path)
        if EXAMPLES > 200:
            ends_plainly(lambda: doctor(load(tmp_path)))

    ask()


@fuzzed
@given(config=SETTINGS)
def test_hints_of_settings_that_went_astray_are_bounded(config):
    found = hints_from(config, "config.json")
    for value in (found.depth, found.embed_dim, found.num_heads, found.rope_theta):
        assert value is None or 0 < value < 2**31


@fuzzed
@given(content=st.dictionaries(st.sampled_from([*_RECIPE_TYPES, "model", "nonsense"]), JSON))
def test_a_recipe_that_went_astray_is_read_or_refused(content):
    ends_plainly(Recipe.from_dict, {"name": "x", "data": "digits", **content})


_ABOUT = [
    "family", "kind", "join", "layers", "norms", "relation", "facts", "source", "notes", "keys",
    "num_prefix_tokens", "depth", "num_parameters", "stored", "patch_size", "architecture",
]  # fmt: skip


def test_an_extraction_that_went_astray_is_read_or_refused(tmp_path):
    path = tmp_path / "x.pe.safetensors"

    @fuzzed
    @given(changes=st.dictionaries(st.sampled_from(_ABOUT), JSON, min_size=1, max_size=3))
    def ask(changes):
        path.unlink(missing_ok=True)
        path.write_bytes(extraction(**changes))
        ends_plainly(_everything, path)

    ask()


def test_a_namespace_that_went_astray_is_read_or_refused(tmp_path):
    import torch

    path = tmp_path / "x.pth"
    model = {name: torch.from_numpy(value) for name, value in STATE.items()}

    @settings(fuzzed, max_examples=max(EXAMPLES // 8, 25))
    @given(said=SETTINGS)
    def ask(said):
        path.unlink(missing_ok=True)
        torch.save({"model": model, "args": argparse.Namespace(**said)}, path)
        ends_plainly(_everything, path)

    ask()
