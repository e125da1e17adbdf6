from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.errors import UsageError
from pe_inspect.training import DEFAULT_RECIPE, Recipe, checkpoint_folder, recipes
from pe_inspect.training.catalog import Recipes


def test_the_recipes_that_travel_with_the_package_can_be_listed() -> None:
    assert {"cifar10-input", "cifar10-lape", "digits-input", "digits-lape"} <= set(recipes)
    assert DEFAULT_RECIPE in recipes
    for name, recipe in recipes.items():
        assert recipe.name == name
        assert recipe.description
        assert "{" not in recipe.description
        assert recipe.num_parameters > 0
        assert bool(recipe.expected_accuracy) == bool(recipe.accuracy_source) or name.startswith(
            ("schh", "deit", "vit-lite")
        )


@pytest.mark.parametrize("data", ["cifar10", "digits"])
def test_a_pair_of_recipes_differs_by_its_join_alone(data: str) -> None:
    lape, table = recipes[f"{data}-lape"].to_dict(), recipes[f"{data}-input"].to_dict()
    assert lape["model"].pop("join") == "lape"
    assert table["model"].pop("join") == "input"
    for key in ("name", "description", "minutes_per_epoch"):
        lape.pop(key), table.pop(key)
    assert lape == table


def test_a_recipe_that_does_not_exist_is_met_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        recipes["digits-lap"]
    assert str(caught.value).startswith("Unknown recipe 'digits-lap'. Did you mean 'digits-lape'")


def test_a_folder_without_recipes_has_none(tmp_path: Path) -> None:
    assert len(Recipes(tmp_path)) == 0


def test_a_recipe_survives_json(tiny: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(tiny.to_dict()))) == tiny


def test_expected_minutes_follow_the_epochs(tiny: Recipe) -> None:
    changed = tiny.with_overrides(["minutes_per_epoch=0.5", "epochs=6"])
    assert changed.expected_minutes == 3.0
    assert changed.with_overrides(["lr=1e-4", "seed=3"]).expected_minutes == 3.0


@pytest.mark.parametrize("change", ["depth=3", "data=digits", "batch_size=4"])
def test_a_recipe_that_was_changed_was_never_timed(tiny: Recipe, change: str) -> None:
    timed = tiny.with_overrides(["minutes_per_epoch=0.5"])
    assert timed.with_overrides([change]).expected_minutes == 0


def test_overrides_are_typed_by_their_fields(tiny: Recipe) -> None:
    changed = tiny.with_overrides(
        [
            "epochs=5",
            "lr=3e-4",
            "flip=False",
            "data=digits",
            "img_size=12x32",
            "depth=1",
            "seed = 7",
        ]
    )
    assert (changed.epochs, changed.lr, changed.flip, changed.data) == (5, 3e-4, False, "digits")
    assert (changed.model.img_size, changed.model.depth, changed.seed) == ((12, 32), 1, 7)
    assert tiny.epochs == 2


def test_a_key_has_one_value(tiny: Recipe) -> None:
    assert tiny.with_overrides(["epochs=5", "epochs=5"]).epochs == 5
    with pytest.raises(UsageError, match="epochs was given as 5 and as 6; it has one value"):
        tiny.with_overrides(["epochs=5", "lr=1e-3", "epochs=6"])


def test_one_number_is_a_square(tiny: Recipe) -> None:
    assert tiny.with_overrides(["patch_size=1"]).model.patch_size == (1, 1)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "'epochs' is no assignment; expected key=value, e.g. epochs=5."),
        ("epoch=5", "Unknown recipe key 'epoch'. Did you mean 'epochs'"),
        ("dept=5", "Unknown recipe key 'dept'. Did you mean 'depth'"),
        ("epochs=five", "epochs is 'five'; expected a whole number, e.g. 5."),
        ("epochs=2.5", "epochs is '2.5'; expected a whole number, e.g. 5."),
        ("lr=fast", "lr is 'fast'; expected a number, e.g. 0.001."),
        ("lr=nan", "lr is nan; it must be above 0 and finite."),
        ("flip=perhaps", "flip is 'perhaps'; expected true or false."),
        ("img_size=8x8x8", "img_size is '8x8x8'; expected height and width, e.g. 32x32."),
        ("img_size=large", "img_size is 'large'; expected height and width, e.g. 32x32."),
        ("epochs=0", "epochs is 0; it must be at least 1, and below 10^9."),
        ("batch_size=0", "batch_size is 0; it must be at least 1, and below 10^9."),
        ("lr=0", "lr is 0.0; it must be above 0 and finite."),
        ("label_smoothing=1", "label_smoothing is 1.0; it must be from 0 to below 1."),
        ("shift=-1", "shift is -1; it must be 0 or more."),
        ("accumulate=0", "accumulate is 0; it must be at least 1, and below 10^9."),
        ("accumulate=3", "accumulate is 3, which does not divide batch_size 8; choose e.g. batch"),
        ("ema_decay=1", "ema_decay is 1.0; it must be from 0 to below 1."),
        ("erasing=2", "erasing is 2.0; it must be from 0 to 1."),
        ("mixup=-1", "mixup is -1.0; it must be 0 or more."),
        ("cutmix=inf", "cutmix is inf; it must be 0 or more."),
        ("magnitude=31", "magnitude is 31; it must be from 0 to 30."),
        (
            "augment=rand",
            "augment is 'rand'; it must be one of none, randaugment, randaugment-timm,",
        ),
        ("compile=yes", "compile is 'yes'; it must be one of auto, on, off."),
        ("notes=x", "Unknown recipe key 'notes'."),
        ("reg_tokens=13", "reg_tokens is 13, more than the 12 patches; choose at most 12."),
        ("schh_compat=true", "schh_compat changes the angles of scheme 'rope_axial', and scheme"),
        ("precision=half", "precision is 'half'; it must be one of auto, float32, bfloat16."),
        ("stored_as=int8", "stored_as is 'int8'; it must be one of float32, float16."),
        ("patch_size=5x2", "img_size 6×8 is not a whole number of 5×2 patches"),
        ("ln_eps=-1", "ln_eps is -1.0; it must be from 0 to below 1, e.g. 1e-6."),
        ("ln_eps=nan", "ln_eps is nan; it must be from 0 to below 1"),
        ("seed=-1", "seed is -1; it must be from 0 to 4294967295."),
        ("seed=20261121113000", "seed is 20261121113000; it must be from 0 to 4294967295."),
        ("join=lap", "Unknown join 'lap'. Did you mean 'lape'"),
    ],
)
def test_an_override_that_makes_no_sense_says_why(
    tiny: Recipe, assignment: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        tiny.with_overrides([assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", 'mine.toml: a recipe needs data, the name of a dataset, e.g. data = "digits".'),
        ('dat = "digits"', "mine.toml: Unknown recipe key 'dat'. Did you mean 'data'"),
        ('data = "digits"\nepoch = 5', "mine.toml: Unknown recipe key 'epoch'. Did you mean"),
        ('data = "digits"\nepochs = "5"', "mine.toml: epochs is '5'; expected a whole number"),
        ('data = "digits"\nepochs = true', "mine.toml: epochs is True; expected a whole number"),
        ('data = "digits"\nflip = 1', "mine.toml: flip is 1; expected true or false."),
        ("data = 8", "mine.toml: data is 8; expected a text."),
        ('data = "digits"\nmodel = 8', "mine.toml: model is 8; expected a table of its own"),
        ('data = "digits"\n[model]\nimg_size = ["8", 8]', "expected height and width, e.g. 32x32."),
        ('data = "digits"\n[model]\nwidth = 8', "mine.toml: Unknown recipe key 'width'."),
        ("data = ", "mine.toml cannot be read as a recipe (TOML): "),
    ],
)
def test_a_recipe_file_that_makes_no_sense_says_why(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        Recipe.open(file)
    assert message in str(caught.value)


def test_a_recipe_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.toml cannot be read as a recipe"):
        Recipe.open(tmp_path / "gone.toml")


def test_a_recipe_file_is_named_by_its_stem(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('data = "digits"\nlr = 1\n[model]\nimg_size = 8\npatch_size = [2, 1]\n')
    recipe = Recipe.open(file)
    assert (recipe.name, recipe.lr, recipe.model.grid_size) == ("mine", 1.0, (4, 8))


def test_the_checkpoint_of_the_working_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint_folder("no-such") == Path("checkpoints/no-such")
    shipped = checkpoint_folder(DEFAULT_RECIPE)
    assert shipped.is_absolute()
    here = tmp_path / "checkpoints" / DEFAULT_RECIPE
    here.mkdir(parents=True)
    (here / "model.safetensors").touch()
    assert checkpoint_folder(DEFAULT_RECIPE) == Path("checkpoints") / DEFAULT_RECIPE


def test_a_new_scheme_takes_its_own_join_where_it_cannot_have_the_old_one(tiny: Recipe) -> None:
    changed = tiny.with_overrides(["scheme=relative"])
    assert (changed.model.scheme, changed.model.join) == ("relative", "layer")
    assert changed.notes == ("scheme relative cannot have join 'lape'; it takes its own, 'layer'.",)
    assert tiny.with_overrides(["scheme=sincos2d"]).model.join == "lape"
    assert tiny.with_overrides(["scheme=sincos2d"]).notes == ()


def test_a_join_that_was_said_is_not_replaced(tiny: Recipe) -> None:
    with pytest.raises(UsageError, match="scheme 'relative' cannot have join 'share'"):
        tiny.with_overrides(["scheme=relative", "join=share"])


def test_a_scheme_that_does_not_exist_is_met_with_the_nearest(tiny: Recipe) -> None:
    with pytest.raises(UsageError, match=r"Unknown scheme 'relativ'\. Did you mean 'relative'"):
        tiny.with_overrides(["scheme=relativ"])


def test_the_recipe_of_an_older_checkpoint_still_opens() -> None:
    path = Path(__file__).parents[2] / "checkpoints" / "digits-lape" / "config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    assert "augment" not in saved
    assert Recipe.from_dict(saved).augmentation == Augmentation(shift=1)


def test_the_augmentation_is_the_recipes(tiny: Recipe) -> None:
    changed = tiny.with_overrides(["augment=randaugment", "mixup=0.8", "repeats=3", "num_ops=1"])
    assert changed.augmentation == Augmentation(
        shift=1, flip=True, policy="randaugment", mixup=0.8, repeats=3, num_ops=1
    )
