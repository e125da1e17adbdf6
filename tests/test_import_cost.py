"""What is not needed is not imported. Absence is asserted, never milliseconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pe_inspect.commands import commands

pytestmark = pytest.mark.subprocess

HEAVY = ("torch", "timm", "matplotlib", "seaborn", "pandas", "sklearn", "transformers", "scipy")

PROBE = """
import sys
sys.argv = ["pe-inspect", *sys.argv[1:]]
try:
    if len(sys.argv) > 1:
        from pe_inspect.commands import main
        main()
    else:
        import pe_inspect
        dir(pe_inspect)
finally:
    print("LOADED", *sorted(sys.modules), file=sys.stderr)
"""


def modules_of(*arguments: str) -> set[str]:
    """Run pe-inspect in a process of its own; return the dotted names of what it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("LOADED")[2].split())


def loaded_by(*arguments: str) -> set[str]:
    """Return the packages that pe-inspect imports for a command line."""
    return {name.partition(".")[0] for name in modules_of(*arguments)}


def commands_in(modules: set[str]) -> set[str]:
    """Return the commands whose files are among these modules."""
    names = (name.split(".") for name in modules if name.startswith("pe_inspect.commands."))
    return {parts[2] for parts in names} - {"shell"}


def save_pth(arrays, path):
    """Save as torch does, a zip; torch is in this process, not in the one that is looked at."""
    import torch

    torch.save({name: torch.from_numpy(values) for name, values in arrays.items()}, path)


def save_npz(arrays, path):
    np.savez(path, **arrays)


SAVERS = {"x.safetensors": save_file, "x.pth": save_pth, "x.npz": save_npz}


@pytest.fixture(scope="module", params=SAVERS)
def checkpoint(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("cost") / request.param
    random = np.random.default_rng(0)
    tensors = {
        "cls_token": (1, 1, 8),
        "pos_embed": (1, 13, 8),
        "patch_embed.proj.weight": (8, 3, 4, 4),
        "blocks.0.norm1.weight": (8,),
        "blocks.0.norm1.bias": (8,),
        "blocks.0.attn.qkv.weight": (24, 8),
    }
    arrays = {k: random.normal(size=shape).astype(np.float32) for k, shape in tensors.items()}
    SAVERS[request.param](arrays, path)
    return str(path)


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by().isdisjoint({*HEAVY, "numpy", "typer"})


@pytest.mark.parametrize("word", ["--help", "recipes"])
def test_help_and_lists_load_nothing_heavy(word):
    assert loaded_by(word).isdisjoint({*HEAVY, "numpy"})


@pytest.mark.parametrize("words", [["recipes"], ["info", "--help"]])
def test_a_command_imports_its_own_file_alone(words):
    assert commands_in(modules_of(*words)) == {words[0]}


def test_help_imports_every_command():
    assert commands_in(modules_of("--help")) == set(commands.stems()) == set(commands)


def test_info_of_a_file_reads_no_recipe_and_no_other_question(checkpoint):
    modules = modules_of("info", checkpoint, "--grid-size", "3x4")
    assert commands_in(modules) == {"info"}
    rooms = {name.split(".")[1] for name in modules if name.startswith("pe_inspect.")}
    assert rooms.isdisjoint({"analysis", "figures", "page", "training", "models", "diagnosis"})


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_info_loads_nothing_heavy(checkpoint, more):
    loaded = loaded_by("info", checkpoint, "--grid-size", "3x4", *more)
    assert loaded.isdisjoint({*HEAVY, "rich", "pydantic"})


@pytest.fixture(scope="module")
def own_modules_of_info():
    """What `info` on a checkpoint that is shipped executes: all of it, and as Python times it."""
    file = str(Path(__file__).parents[1] / "checkpoints" / "cifar10-lape")
    words = [sys.executable, "-X", "importtime", "-c", PROBE, "info", file]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    times, _, loaded = said.rpartition("LOADED")
    timed = [line.rpartition("|")[2].strip() for line in times.splitlines()]
    own = {name for name in loaded.split() if name.split(".")[0] == "pe_inspect"}
    return own, [name for name in timed if name.split(".")[0] == "pe_inspect"]


def test_info_executes_few_modules_of_its_own(own_modules_of_info):
    own, timed = own_modules_of_info
    assert len({*timed}) <= 50  # Python lists a module twice that a package hands on
    assert len(own) <= 68


def test_info_imports_only_the_kind_and_the_format_that_the_file_has(own_modules_of_info):
    own, _ = own_modules_of_info
    others = {"bias", "phases", "relative", "response", "computed_bias", "affinity", "offsets"}
    assert own.isdisjoint({f"pe_inspect.kinds.{name}" for name in others})
    formats = {name.split(".")[3] for name in own if name.count(".") == 3 and ".formats." in name}
    assert formats == {"huggingface", "safetensors"}


def test_info_imports_no_reading_of_a_scheme_that_the_file_lacks(own_modules_of_info):
    own, _ = own_modules_of_info
    absent = {"arch", "rotation", "rotation_stored", "windows", "kernels", "sincos", "named_model"}
    assert own.isdisjoint({f"pe_inspect.families.reading.{name}" for name in absent})
