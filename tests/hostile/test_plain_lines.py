"""What once was a traceback: one plain line, with the contract's exit code."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hostile.seeds import STATE
from safetensors.numpy import save

import pe_inspect as pei
from pe_inspect.bounded import parsed_json, typed, whole_number
from pe_inspect.commands.shell import program as shell
from pe_inspect.data.decoding import UnreadableImage, decoded
from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading import load
from pe_inspect.training.recipe import Recipe

DEEP = "[" * 100_000


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "model.safetensors").write_bytes(save(STATE))
    return tmp_path / "vit"


@pytest.mark.parametrize(
    "text", [DEEP, '{"a":' * 5000, "{", "[1,2]", "\xff", '{"a": ' + "9" * 70 + "}"]
)
def test_a_config_that_is_no_object_ends_in_a_line(text, folder):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UnreadableCheckpoint, match=r"is no JSON|no object"):
        load(folder)


@pytest.mark.parametrize("wrong", [{"w": 3}, {"w": "../x"}, {"w": ["a"]}, [], "x", {"w": {}}])
def test_a_wrong_index_ends_in_a_line(wrong, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": wrong}))
    with pytest.raises(UnreadableCheckpoint):
        load(tmp_path)


def test_a_preprocessor_that_is_no_json_beside_write_ends_in_a_line(folder, tmp_path):
    (folder / "preprocessor_config.json").write_text("not json")
    with pytest.raises(UnreadableCheckpoint, match=r"preprocessor_config\.json is no JSON"):
        pei.bake(load(folder, grid_size=(3, 4)), tmp_path / "new", grid=(4, 6))
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


TOML = {
    "deep": "a = " + DEEP, "digits": "epochs = " + "9" * 5000, "bytes": "\udcff",
    "epochs": 'data = "digits"\nepochs = ' + "9" * 30, "lr": 'data = "digits"\nlr = ' + "9" * 400,
    "infinite": 'data = "digits"\nepochs = inf',
    "theta": 'data = "digits"\n[model]\nrope_theta=nan',
}  # fmt: skip


@pytest.mark.parametrize("kind", TOML)
def test_a_wrong_recipe_ends_in_a_line(kind, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOML[kind], encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UsageError) as error:
        Recipe.open(path)
    assert len(str(error.value)) < 3000


@pytest.mark.parametrize("value", ["9" * 30, "1e400", "9" * 5000])
def test_an_assignment_beyond_measure_ends_in_a_line(value):
    recipe = Recipe.from_dict({"name": "x", "data": "digits"})
    for key in ("epochs", "seed", "depth", *(["lr"] if value != "9" * 30 else [])):
        with pytest.raises(UsageError):
            recipe.with_overrides([f"{key}={value}"])


def test_a_message_is_never_endless():
    message = str(UsageError("x" * 12_000 + "\n" + "y" * 12_000 + "\nz" * 5000))
    assert len(message) < 10_000
    assert message.startswith("x" * 100)


def test_bounded_values():
    assert parsed_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    assert parsed_json(b'{"n": 1000000000000000019884624838656}')["n"] == 1e30
    assert (whole_number("12"), whole_number("9" * 19), whole_number("٣")) == (12, None, None)
    assert typed([3, 4], tuple[int, int] | None) == (3, 4)
    with pytest.raises(ValueError, match="belong"):
        typed([3, 4, 5], tuple[int, int])


def test_a_librarys_warning_is_a_line_without_its_source(capsys):
    shell._warn("divide by zero\nat line 3", RuntimeWarning, "/secret/path.py", 12)
    assert capsys.readouterr().err == "Warning: divide by zero (RuntimeWarning)\n"


@pytest.mark.subprocess
@pytest.mark.parametrize("words", [["--help"], ["info", "--help"]])
def test_help_on_a_full_disk_is_a_usage_error(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pe_inspect", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("Error: Cannot write")


SIDES = {"13,000 by 13,000": (13_000, 13_000), "a line": (1, 20_000)}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", SIDES)
def test_a_picture_of_far_more_pixels_than_bytes_is_left_out_undecoded(kind, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    _png(path, *SIDES[kind])
    monkeypatch.setattr("PIL.Image.Image.convert", None)
    with pytest.raises(UnreadableImage, match="pixels are"):
        decoded(path)


def _png(path, width, height):
    row = b"\0" + bytes(width // 8 + 1)
    pack = zlib.compressobj()
    packed = b"".join([*(pack.compress(row) for _ in range(height)), pack.flush()])
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", packed), (b"IEND", b""),
    ]  # fmt: skip
    content = b"".join(
        struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
