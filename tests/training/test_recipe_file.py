"""Families of recipes in one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_inspect.errors import UsageError
from pe_inspect.training import Recipe
from pe_inspect.training.catalog import Recipes

FAMILY = """
description = "{variant}: {scheme}, {join}"
data = "digits"
epochs = 3

[model]
img_size = [6, 8]
patch_size = [2, 2]
embed_dim = 16
depth = 2
num_heads = 2
scheme = "learned"

[variants]
lape = { model = { join = "lape" } }

[variants.short]
epochs = 1
model = { scheme = "none", join = "none", depth = 1 }
"""


@pytest.fixture
def family(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(FAMILY, encoding="utf-8")
    return path


def test_a_variant_has_the_common_body_and_what_is_its_own(family: Path) -> None:
    lape, short = (Recipe.open(f"{family}:{name}") for name in ("lape", "short"))
    assert (lape.name, lape.epochs, lape.model.join, lape.model.depth) == (
        "mine-lape",
        3,
        "lape",
        2,
    )
    assert (short.name, short.epochs, short.model.scheme) == ("mine-short", 1, "none")
    assert short.model.grid_size == (3, 4)
    assert (lape.description, short.description) == ("lape: learned, lape", "short: none, none")


def test_the_catalog_has_each_variant(family: Path) -> None:
    known = Recipes(family.parent)
    assert list(known) == ["mine-lape", "mine-short"]
    assert known["mine-lape"] == Recipe.open(f"{family}:lape")
    assert known.family("mine-short") == "mine"


def test_a_family_is_no_recipe_by_itself(family: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe.open(family)
    assert str(caught.value) == (
        f"mine.toml holds several recipes; name one as {family}:lape: lape, short."
    )


def test_a_variant_that_is_not_there_is_met_with_the_nearest(family: Path) -> None:
    with pytest.raises(UsageError, match=r"mine.toml: Unknown variant 'lap'. Did you mean 'lape'"):
        Recipe.open(f"{family}:lap")


def test_a_file_of_one_recipe_has_no_variants(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('data = "digits"', encoding="utf-8")
    assert Recipe.open(path).name == "one"
    with pytest.raises(UsageError, match=r"holds one recipe and no variants; leave :x out"):
        Recipe.open(f"{path}:x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("variants = 3", "mine.toml: variants must be tables, e.g. [variants.lape]."),
        ("[variants]", "mine.toml: variants must be tables"),
        ("[variants]\nlape = 3", "mine.toml: variant lape is 3; expected a table."),
        ("[variants]\nlape = { model = 3 }", "mine.toml: model must be a table of its own"),
        ('data = "digits"\n[variants]\nlape = { epoch = 3 }', "Did you mean 'epochs'"),
    ],
)
def test_a_family_that_makes_no_sense_says_why(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        Recipe.open(f"{path}:lape")
    assert said in str(caught.value)


def test_two_files_cannot_have_one_name(family: Path) -> None:
    (family.parent / "mine-lape.toml").write_text('data = "digits"', encoding="utf-8")
    with pytest.raises(UsageError, match="another file has a recipe 'mine-lape', too"):
        list(Recipes(family.parent))
