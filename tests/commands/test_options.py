"""The shared options: one definition, the contract's names, checked before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated

import pytest
import typer

from pe_inspect.commands import commands
from pe_inspect.commands.shell.options import Drawing, Reading, Resize, Selection
from pe_inspect.commands.shell.parsing import pair, pairs
from pe_inspect.commands.shell.program import expand, program
from pe_inspect.errors import UsageError

OPENING = {"--state-dict-key", "--tower", "--trust-pickle", "--no-train"}
READING = {
    "--grid-size",
    "--num-prefix-tokens",
    "--patch-size",
    "--num-heads",
    "--family",
    "--join",
    "--ln-eps",
    "--arch",
}
TERMINAL = {"--json", "--quiet", "-q", "--explain", "--debug"}
OUTPUT = {"--out", "--force"}
FIGURES = {"--format", "--dpi", "--no-figures", "--save-data", "--table-format"}
FIGURES |= {"--style", "--width", "--cmap", "--title", "--caption"}
QUESTION = OPENING | READING | TERMINAL | OUTPUT | FIGURES
IMAGES = {"--images", "--num-images", "--seed", "--device", "--max-memory"}
RUNNING = IMAGES | {"--res", "--each", "--untrained"}

# A frozen list: an option that comes or goes changes the contract, and this test.
OFFERED = {
    "attention": QUESTION | RUNNING | {"--layer", "--head", "--token", "--no-renorm"},
    "contribution": QUESTION | RUNNING | {"--layer", "--token"},
    "compare": QUESTION | {"--layer", "--head", "--token"},
    "doctor": OPENING
    | READING
    | TERMINAL
    | {"--expect", "--expect-res", "--against", "--allow", "--ask-timm"},
    "evaluate": QUESTION
    | {"--data", "--root", "--res", "--method", "--alpha", "--shuffle", "--remove"}
    | {"--permute-patches", "--batch-size", "--limit", "--seed", "--device", "--mean", "--std"}
    | {"--crop-pct"},
    "evolution": QUESTION | {"--layer", "--head", "--token"},
    "families": TERMINAL,
    "filters": QUESTION,
    "info": OPENING | READING | TERMINAL | {"--sha256"},
    "interpolate": QUESTION
    | {"--res", "--grid", "--method", "--matrix", "--token"}
    | {"--write", "--renormalise"},
    "layernorm": QUESTION,
    "probe": QUESTION | RUNNING | {"--layer"},
    "recipes": TERMINAL | {"--data", "--scheme", "--join"},
    "report": OPENING
    | READING
    | TERMINAL
    | OUTPUT
    | IMAGES
    | {"--res", "--grid", "--title", "--layer", "--head", "--token", "--dpi", "--max-mb"}
    | {"--live", "--no-live"},
    "similarity": QUESTION
    | {"--each", "--layer", "--head", "--token", "--max-memory", "--tiles", "--heads"},
    "structure": QUESTION | {"--res", "--grid", "--max-memory"},
    "train": TERMINAL
    | OUTPUT
    | {"--set", "--device", "--data", "--export", "--resume", "--extend", "--tensorboard"}
    | {"--schh-compat", "--strict"},
}


@pytest.mark.parametrize("name", sorted(commands))
def test_a_command_offers_exactly_these_options(name):
    command = program().commands[name]
    given = {option for each in command.params for option in each.opts if option.startswith("-")}
    assert given == OFFERED[name]


@dataclass(frozen=True)
class Inner:
    width: Annotated[int, typer.Option("--width")] = 3


@dataclass(frozen=True)
class Outer:
    inner: Inner
    name: Annotated[str, typer.Option("--name")] = "a"


def test_groups_within_groups_become_plain_parameters_and_come_back():
    def asked(outer: Outer, loud: bool = False) -> tuple[Outer, bool]:
        return outer, loud

    plain = expand(asked)
    assert list(signature(plain).parameters) == ["width", "name", "loud"]
    assert plain(width=5, name="b", loud=True) == (Outer(Inner(5), "b"), True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("3x4", (3, 4)), (" 3 X 4 ", (3, 4)), ("3×4", (3, 4)), ("3*4", (3, 4))],
)
def test_rows_and_columns_are_read_as_people_write_them(given, expected):
    assert pair("--grid", given) == expected


def test_one_number_is_a_square_where_that_is_meant():
    assert pair("--res", "384", one=True) == (384, 384)
    assert Resize(res="224x384").arguments() == {"res": (224, 384)}
    assert Resize(grid="3x4").arguments() == {"grid": (3, 4)}
    assert Resize(grid="24").arguments() == {"grid": (24, 24)}
    assert Resize().arguments() == {}


def test_commas_are_a_list_and_one_size_is_asked_for_as_one():
    assert pairs("--res", "224, 384x512") == [(224, 224), (384, 512)]
    with pytest.raises(UsageError, match=r"384,448 is 2 sizes.*For 384 by 448: --res 384x448\.$"):
        Resize(res="384,448").arguments()
    with pytest.raises(UsageError, match=r"224,384x512 is 2 sizes, and this takes one.*several"):
        Resize(res="224,384x512").arguments()
    with pytest.raises(UsageError, match=r"--grid 6,8 is 2 sizes"):
        Resize(grid="6,8").arguments()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--grid-size", "14"], "--grid-size '14' is not rows x columns: 14x14."),
        (["--grid-size", "0x3"], "--grid-size 0x3: both sides must be at least 1."),
        (["--grid-size", "-2x3"], "--grid-size '-2x3' is not rows x columns"),
        (["--patch-size", "big"], "--patch-size 'big' is not a number, or rows and columns"),
        (["--num-prefix-tokens", "-1"], "--num-prefix-tokens -1 is not a whole number of at least"),
        (["--num-heads", "9" * 30], f"--num-heads {'9' * 30} is not a whole number of at least 1"),
        (["--ln-eps", "2"], "--ln-eps 2 is no ε of a norm; they are like 1e-6."),
        (["--ln-eps", "nan"], "--ln-eps nan is no ε of a norm"),
        (["--join", "lpae"], "Unknown --join 'lpae'. Did you mean 'lape' or 'layer'?"),
    ],
)
def test_what_is_said_of_a_file_is_checked_before_the_file_is_opened(run, here, options, said):
    done = run("info", "there-is-no-such-file.pth", *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--token", "abc"],
            "--token 'abc' is not a row and a column. Write them as 7,7 (2,7,7 in",
        ),
        (["--token", "7"], "--token '7' is not a row and a column."),
        (["--token", "-1,2"], "--token '-1,2' is not a row and a column."),
        (["--layer", " , "], "--layer ' , ' names no layer. Pass blocks.3, 3, or 0,3,11."),
        (
            ["--layer", "3", "--layer", "4"],
            "--layer was given 2 times; it takes one value, several",
        ),
        (["--dpi", "90", "--dpi", "95"], "--dpi was given 2 times; it takes one value."),
        (["--head", "x"], "--head x is not a whole number of at least 0."),
        (["--format", "bmp"], "--format bmp is not one of png, svg, pdf."),
        (["--dpi", "5000"], "--dpi 5000 is not a whole number from 10 to 1200."),
        (["--each", "--no-figures"], "--each and --no-figures contradict each other."),
    ],
)
def test_what_to_draw_is_checked_before_the_file_is_opened(run, here, options, said):
    done = run("similarity", "there-is-no-such-file.pth", *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "To which size? Pass --res 384 (pixels) or --grid 24x24 (patches)."),
        (["--res", "banana"], "--res 'banana' is not a number, or rows and columns, like 384"),
        (["--grid", "14x"], "--grid '14x' is not a number, or rows and columns, like 24 or 14x24."),
        (["--res", "384", "--grid", "24x24"], "--res 384 and --grid 24x24 were both given"),
    ],
)
def test_a_target_size_is_asked_for_and_checked_first(run, here, options, said):
    done = run("interpolate", "there-is-no-such-file.pth", *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("given", "layer"),
    [(None, None), ("3", 3), ("blocks.3", "blocks.3"), ("0, 3,blocks.11", (0, 3, "blocks.11"))],
)
def test_a_layer_is_a_place_or_a_name_or_several(given, layer):
    assert Selection(layer=given).where() == layer


def test_what_was_said_becomes_hints_with_their_origins():
    said = {"num_prefix_tokens": 0, "patch_size": "8", "ln_eps": 1e-5, "join": "share"}
    hints = Reading(grid_size="3x4", **said).hints()
    assert (hints.grid_size, hints.num_prefix_tokens, hints.patch_size) == ((3, 4), 0, (8, 8))
    assert (hints.ln_eps, hints.join, hints.arch) == (1e-5, "share", None)
    assert hints.origins["num_prefix_tokens"] == "--num-prefix-tokens"
    assert set(hints.origins) == {"grid_size", *said}


def test_a_layer_is_a_place_or_a_name():
    assert Selection(layer="3").where() == 3
    assert Selection(layer="blocks.3").where() == "blocks.3"
    assert Selection().where() is None
    assert Selection(token=[" 1, 2"]).query() == (1, 2)
    assert Selection(token=["1,2", "0,3"]).queries() == [(1, 2), (0, 3)]
    with pytest.raises(UsageError, match="--token was given 2 times; it takes one value here"):
        Selection(token=["1,2", "0,3"]).query()


def test_the_default_folder_is_none_until_the_checkpoint_is_known():
    from pe_inspect.commands.shell.options import Output
    from pe_inspect.commands.shell.question_runner import output_folder

    assert output_folder(Output(), "tiny").path == Path("reports/tiny")
    assert output_folder(Output(out=Path("x"), force=True), "tiny").force
    with pytest.raises(UsageError, match="bmp"):
        Drawing(format="bmp")
