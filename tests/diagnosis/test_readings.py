"""Every way to read a number of rows, and what explains that it is not the number expected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed

from pe_inspect.diagnosis.checks.expectation import expected_resolution, expected_rows
from pe_inspect.diagnosis.checks.other_model import differences
from pe_inspect.diagnosis.readings import Readings, file_readings, readings
from pe_inspect.diagnosis.shape_words import shape_words
from pe_inspect.errors import UsageError
from pe_inspect.families import extract
from pe_inspect.families.reading.grid import PrefixTokens
from pe_inspect.loading.checkpoint import Checkpoint, Hints

GRIDS = st.tuples(st.integers(1, 64), st.integers(1, 64))
PREFIXES = st.integers(0, 8)


def is_ambiguous(found):
    return Readings("pos_embed", 0, found, None).is_ambiguous


@settings(max_examples=400, deadline=None)
@given(GRIDS, PREFIXES, st.booleans())
def test_the_true_reading_is_always_among_them(grid, prefix, known):
    tokens = PrefixTokens(min(prefix, 1), 0, max(prefix - 1, 0), known=known)
    found = readings(prefix + grid[0] * grid[1], tokens)
    assert (grid, prefix) in [(each.grid_size, each.num_prefix_rows) for each in found]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4200), st.integers(0, 8), st.booleans())
def test_each_reading_adds_up_and_is_named_once(rows, tokens, known):
    found = readings(rows, PrefixTokens(tokens, known=known))
    pairs = [(each.num_prefix_rows, each.grid_size) for each in found]
    assert len(set(pairs)) == len(pairs)
    assert all(p + h * w == rows for p, (h, w) in pairs)


@settings(max_examples=300, deadline=None)
@given(st.integers(3, 64), PREFIXES)
def test_a_square_with_the_models_own_tokens_is_first_and_never_ambiguous(side, prefix):
    """Only 4 + 5·… and the like tie; no model has such a table (N > 25: pe_zoo, section 1)."""
    tokens = PrefixTokens(min(prefix, 1), 0, max(prefix - 1, 0))
    found = readings(prefix + side * side, tokens)
    fitting = [each for each in found if each.standing == found[0].standing]
    assert found[0].standing == "ordinary"
    assert is_ambiguous(found) == (len(fitting) > 1)
    if side > 5:
        assert (found[0].grid_size, found[0].num_prefix_rows) == ((side, side), prefix)
        assert not is_ambiguous(found)


@settings(max_examples=200, deadline=None)
@given(st.integers(5, 64), PREFIXES)
def test_a_bare_table_with_one_square_reading_is_not_ambiguous(side, prefix):
    found = readings(prefix + side * side)
    assert found[0].grid_size == (side, side)
    assert not is_ambiguous(found)


@given(st.integers(6, 30), st.integers(6, 30), st.integers(0, 2))
def test_a_rectangle_of_unknown_grid_is_ambiguous(height, width, prefix):
    found = readings(prefix + height * width, PrefixTokens(prefix))
    assume(found[0].standing not in ("ordinary", "square"))
    assert is_ambiguous(found)


@given(GRIDS, st.integers(0, 5))
def test_what_is_stated_comes_first(grid, prefix):
    rows = prefix + grid[0] * grid[1]
    found = readings(rows, grid_size=grid, num_prefix_tokens=prefix)
    assert (found[0].standing, found[0].grid_size) == ("said", grid)


def test_a_wrong_statement_does_not_come_first():
    found = readings(197, PrefixTokens(1), grid_size=(3, 5))
    assert str(found[0]) == "1 prefix + 14×14"


def checkpoint(rows=197, tokens=1, width=8, name="pos_embed", patch=16, **hints):
    random = np.random.default_rng(0)
    state = {
        name: random.normal(size=(1, rows, width)).astype(np.float32),
        "patch_embed.proj.weight": np.zeros((width, 3, patch, patch), np.float32),
    }
    if tokens:
        state["cls_token"] = np.zeros((1, 1, width), np.float32)
    if tokens > 1:
        state["dist_token"] = np.zeros((1, 1, width), np.float32)
    for i in range(2):
        for part in ("weight", "bias"):
            state[f"blocks.{i}.norm1.{part}"] = random.normal(size=width).astype(np.float32)
    return Checkpoint.from_state_dict(state, source="x.pth", hints=Hints(**hints))


def test_the_reading_that_every_command_takes_is_marked():
    (found,) = file_readings(checkpoint())
    assert str(found.taken) == "1 prefix + 14×14"
    assert found.all[0] is found.taken
    assert found.taken.because == "square, with the model's own prefix tokens"
    assert not found.is_ambiguous


@settings(max_examples=150, deadline=None)
@given(GRIDS, st.integers(0, 2))
def test_a_files_true_reading_is_there_and_taken_where_it_is_square(grid, prefix):
    given, true = sized(grid, prefix), (grid, prefix)
    (found,) = file_readings(given)
    assert true in [(each.grid_size, each.num_prefix_rows) for each in found.all]
    assert (found.taken is None) == bool(found.said)
    if grid[0] == grid[1] > 1:
        assert (found.taken.grid_size, found.taken.num_prefix_rows) == true
        assert not found.is_ambiguous


def sized(grid, prefix):
    """A ViT's names and shapes; its values take no memory."""
    rows = prefix + grid[0] * grid[1]
    shapes = {"pos_embed": (1, rows, 8), "patch_embed.proj.weight": (8, 3, 16, 16)}
    shapes |= dict.fromkeys(("cls_token", "dist_token")[:prefix], (1, 1, 8))
    empty = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    return Checkpoint.from_state_dict(empty, source="x.pth")


def test_a_rectangle_has_none_that_is_taken():
    (found,) = file_readings(checkpoint(13))
    assert found.taken is None
    assert found.is_ambiguous
    assert found.said.startswith("pos_embed has 13 rows: ")
    assert [str(each) for each in found.all[:2]] == ["1 prefix + 3×4", "1 prefix + 4×3"]


def test_a_table_of_four_axes_has_one_reading():
    state = {"pos_embed": np.ones((1, 3, 5, 8), np.float32), "norm.weight": np.ones(8)}
    (found,) = file_readings(Checkpoint.from_state_dict(state))
    assert [str(each) for each in found.all] == ["0 prefix + 3×5"]


def test_windows_are_read_from_offsets():
    state = {"layers.0.blocks.0.attn.relative_position_bias_table": np.ones((35, 2), np.float32)}
    (found,) = file_readings(Checkpoint.from_state_dict(state))
    assert found.is_bias
    assert found.is_ambiguous
    assert {each.grid_size for each in found.all} == {(3, 4), (4, 3), (1, 18), (18, 1)}


# Expectations


def explain(given, rows):
    return list(expected_rows(given, file_readings(given), rows))


def test_what_fits_is_not_explained():
    assert explain(checkpoint(), 197) == []
    assert list(expected_resolution(checkpoint(), file_readings(checkpoint()), (224, 224))) == []


@pytest.mark.parametrize(
    ("rows", "tokens", "expected", "said"),
    [
        (
            577, 1, 197,
            "pos_embed has 577 rows = 1 + 24×24 (384 px at patch 16); your model (--expect 197) "
            "expects 197 = 1 + 14×14 (224 px at patch 16). The prefix rows are the same; the image "
            "size differs.",
        ),
        (
            198, 2, 197,
            "pos_embed has 198 rows = 2 + 14×14 (224 px at patch 16); your model (--expect 197) "
            "expects 197 = 1 + 14×14 (224 px at patch 16). The grid is the same; prefix rows "
            "differ: CLS and distillation here, CLS there.",
        ),
        (
            196, 0, 578,
            "pos_embed has 196 rows = 0 + 14×14 (224 px at patch 16); your model (--expect 578) "
            "expects 578 = 2 + 24×24 (384 px at patch 16). Image size and prefix rows both "
            "differ: none here, 2 rows there.",
        ),
    ],
)  # fmt: skip
def test_a_mismatch_is_one_sentence(rows, tokens, expected, said):
    (finding,) = explain(checkpoint(rows, tokens), expected)
    assert (finding.code, finding.severity) == ("mismatch-rows", "error")
    assert finding.message == said
    assert finding.evidence["expected_rows"] == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 32), st.integers(0, 2), st.integers(4, 32), st.integers(0, 5))
def test_the_lines_that_mend_it_make_a_table_that_fits(side, tokens, other, prefix):
    given, wanted = checkpoint(side * side + tokens, tokens), other * other + prefix
    findings = explain(given, wanted)
    if not findings or "readings" in findings[0].evidence:
        return
    state = {key: torch.tensor(given.tensor(key)) for key in given}
    exec(findings[0].mend, {"state": state})
    assert state["pos_embed"].shape == (1, wanted, 8)


def test_the_resampling_that_it_names_is_timms():
    given = checkpoint(577)
    (finding,) = explain(given, 197)
    lines = finding.mend.split("\n")
    table = torch.tensor(given.tensor("pos_embed"))
    state = {"pos_embed": table}
    exec("\n".join(lines), {"state": state})
    assert torch.equal(state["pos_embed"], resample_abs_pos_embed(table, [14, 14], [24, 24]))


def test_a_resolution_is_explained_by_its_grid():
    given = checkpoint(197)
    (finding,) = expected_resolution(given, file_readings(given), (224, 384))
    assert finding.message == (
        "pos_embed has 197 rows = 1 + 14×14 (224 px at patch 16); your model at 224×384 px "
        "(--expect-res 224×384) expects 337 = 1 + 14×24 (224×384 px at patch 16). The prefix rows "
        "are the same; the image size differs."
    )


def test_a_resolution_needs_a_patch_size():
    state = {"pos_embed": np.ones((1, 16, 8), np.float32)}
    given = Checkpoint.from_state_dict(state, source="x.npy")
    with pytest.raises(UsageError, match=r"x\.npy does not tell its patch size. Pass --patch-size"):
        list(expected_resolution(given, file_readings(given), (224, 224)))
    with pytest.raises(UsageError, match=r"--expect-res 8 is smaller than a patch \(16\)"):
        list(expected_resolution(checkpoint(), file_readings(checkpoint()), (8, 8)))


def test_rows_cannot_be_counted_where_there_are_none():
    given = Checkpoint.from_state_dict({"rope.freqs": np.ones((2, 2, 3, 4))}, source="x.pth")
    with pytest.raises(UsageError, match=r"--expect: x\.pth holds no table whose rows could be"):
        explain(given, 197)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of timm's resizing
def test_offsets_are_explained_as_windows():
    state = {"layers.0.blocks.0.attn.relative_position_bias_table": np.ones((169, 3), np.float32)}
    given = Checkpoint.from_state_dict(state, source="swin.pth")
    (finding,) = explain(given, 529)
    assert "has 169 rows = the offsets of a 7×7 window; your model" in finding.message
    assert "expects 529 = the offsets of a 12×12 window." in finding.message
    lines = finding.mend.split("\n")
    tensors = {key: torch.tensor(value) for key, value in state.items()}
    exec("\n".join(lines), {"state": tensors})
    assert next(iter(tensors.values())).shape == (529, 3)
    assert list(expected_resolution(given, file_readings(given), (384, 384))) == []


def test_a_number_that_no_grid_has_is_said_to_be_one():
    (finding,) = explain(checkpoint(), 0)
    assert "expects 0, which no grid with up to 8 prefix rows has." in finding.message
    assert finding.mend == "Check the number: `pe-inspect info` shows what the file holds."


# Against another checkpoint


def against(mine, other):
    return list(differences(mine, extract(mine), other, extract(other)))


def test_a_checkpoint_fits_itself():
    assert against(checkpoint(), checkpoint()) == []


def test_another_image_size_is_explained_against_a_checkpoint():
    (finding,) = against(checkpoint(577), checkpoint(197))
    assert finding.code == "mismatch-rows"
    assert "x.pth expects 197 = 1 + 14×14" in finding.message


def test_another_name_is_found():
    (finding,) = against(checkpoint(name="pos_embedding"), checkpoint())
    assert finding.code == "mismatch-name"
    assert finding.mend == "state['pos_embed'] = state.pop('pos_embedding')"


def test_another_width_is_another_model():
    (finding,) = against(checkpoint(width=12), checkpoint())
    assert finding.code == "mismatch-width"
    assert "embed_dim 12 here, 8 there" in finding.message


def test_another_scheme_is_named():
    state = {"blocks.0.attn.relative_position_bias_table": np.ones((25, 2), np.float32)}
    other = Checkpoint.from_state_dict(state, source="rel.pth")
    unrelated, finding, *_ = against(checkpoint(), other)
    assert (unrelated.code, finding.code) == ("mismatch-name", "mismatch-scheme")
    assert finding.message == "x.pth holds learned_absolute; rel.pth holds relative_bias."


def _turned(state):
    rows = state["pos_embed"][:, 1:].reshape(1, 14, 14, -1).transpose(0, 2, 1, 3)
    return np.concatenate([state["pos_embed"][:, :1], rows.reshape(1, 196, -1)], axis=1)


def test_a_transposed_copy_is_recognised():
    mine = checkpoint()
    state = {key: mine.tensor(key) for key in mine}
    other = Checkpoint.from_state_dict({**state, "pos_embed": _turned(state)}, source="y.pth")
    (finding,) = against(mine, other)
    assert finding.code == "transposed"
    assert "is that of y.pth with rows and columns exchanged" in finding.message


def test_norms_that_one_lacks_are_named():
    mine = checkpoint()
    state = {key: mine.tensor(key) for key in mine}
    for i in range(2):
        state |= {
            f"blocks.{i}.pe_norm.{part}": np.ones(8, np.float32) for part in ("weight", "bias")
        }
    (finding,) = against(mine, Checkpoint.from_state_dict(state, source="y.pth"))
    assert finding.message == "The norms differ: x.pth lacks pe_norm."


def loaded(state, source="y.pth"):
    return Checkpoint.from_state_dict(state, source=source)


def plus(given, **more):
    return loaded({**{key: given.tensor(key) for key in given}, **more})


def test_tensors_that_no_scheme_knows_are_compared_all_the_same():
    mine = plus(checkpoint(), time_embed=np.ones((1, 8, 8), np.float32))
    other = plus(checkpoint(), time_embed=np.ones((1, 96, 8), np.float32))
    (finding,) = against(mine, other)
    assert finding.code == "mismatch-position"
    assert finding.message == (
        "time_embed has shape (1, 8, 8) in y.pth, (1, 96, 8) in y.pth: 8 places here, 96 there."
    )


def test_every_way_in_which_a_shape_can_come_about_is_told():
    assert shape_words((27, 16), (63, 16)) == (
        "the offsets along an axis of 14 patches here, 32 there"
    )
    assert shape_words((2, 49), (2, 225)) == (
        "the offsets along an axis of 25 patches here, 113 there or 7×7 here, 15×15 there"
    )
    assert shape_words((1, 197, 16), (1, 785, 16)).endswith("1 + 14×14 here, 1 + 28×28 there")
    assert shape_words((4, 4), (9, 9)) == ""


def test_what_is_none_of_position_is_counted_and_named():
    mine = plus(checkpoint(), **{"head.weight": np.ones((5, 8), np.float32)})
    other = plus(
        checkpoint(), **{"head.weight": np.ones((3, 8), np.float32), "head.bias": np.ones(3)}
    )
    (finding,) = against(mine, other)
    assert finding.code == "mismatch-tensors"
    assert "1 tensor of other shapes (head.weight (5, 8) here, (3, 8) there)" in finding.message
    assert "1 tensor missing (head.bias)" in finding.message


def test_two_files_without_a_common_name_are_said_to_be():
    mine, other = checkpoint(), loaded({"conv.weight": np.ones((2, 2))})
    finding = next(differences(mine, extract(mine), other, ()))
    assert finding.code == "mismatch-name"
    assert finding.message.startswith("None of the 7 names of x.pth (")


def test_a_wrapper_on_one_side_is_named_with_the_lines_that_take_it_off(tmp_path):
    from pe_inspect.loading import load

    state = {key: torch.tensor(checkpoint().tensor(key)) for key in checkpoint()}
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "ddp.pth")
    torch.save(state, tmp_path / "plain.pth")
    (finding,) = against(load(tmp_path / "ddp.pth"), load(tmp_path / "plain.pth"))
    assert finding.code == "mismatch-name"
    assert finding.message.startswith("7 names differ by a wrapper: 'module.")
    namespace = {"state": {f"module.{key}": value for key, value in state.items()}}
    exec("\n".join(finding.mend.splitlines()[-3:-1]), namespace)
    assert namespace["state"].keys() == state.keys()


@pytest.mark.parametrize(
    ("rows", "tokens", "grid", "expected", "told"),
    [
        (197, 1, (14, 14), 393, ["1 + 14×28", "1 + 28×14"]),
        (602, 2, (12, 50), 1214, ["2 + 12×101"]),
        (1214, 2, (12, 101), 602, ["2 + 12×50"]),
        (13, 1, (3, 4), 49, ["1 + 6×8"]),
        (13, 1, (3, 4), 14, ["2 + 3×4"]),
    ],
)
def test_what_the_file_shows_is_kept(rows, tokens, grid, expected, told):
    given = checkpoint(rows, tokens)
    hints = Hints(grid_size=grid, num_prefix_tokens=tokens, origins={"grid_size": "--grid-size"})
    (finding,) = explain(replace(given, hints=hints), expected)
    sentence = finding.message.partition(f"expects {expected}")[2]
    places = [sentence.index(each) for each in told]
    assert places == sorted(places)
    assert ("the number does not tell which" in sentence) == (len(told) > 1)


def spectrogram(rows):
    token = np.ones((1, 1, 8), np.float32)
    grey = np.ones((8, 1, 16, 16), np.float32)
    state = {"patch_embed.proj.weight": grey, "cls_token": token, "dist_token": token}
    return plus(checkpoint(rows, 2), **state)


def test_two_numbers_are_read_together_where_nothing_divides_the_file_s_own():
    (finding,) = explain(spectrogram(602), 1214)
    assert "can be 2 + 12×50 here and 2 + 12×101 there; 2 + 6×100 here and 2 +" in finding.message
    assert "nothing in the file tells which" in finding.message
    assert finding.mend.startswith("State the grid of the file first: --grid-size ")


def test_of_two_oblong_grids_of_one_rank_none_is_taken():
    """16 rows are 1 + 3×5 or 1 + 5×3 beside 17, which are 1 + 4×4: no order decides."""
    finding = against(checkpoint(16, 1), checkpoint(17, 1))[0]
    readings = [each["grid_size"] for each in finding.evidence["readings"]]
    assert readings == [[3, 5], [5, 3]]
    assert "state[" not in finding.mend


def test_a_mend_says_what_it_leaves():
    other = checkpoint(577)
    head = np.ones((5, 8), np.float32)
    finding, _ = against(plus(checkpoint(197), head=head), other)
    assert finding.mend.endswith(
        "# This mend alone does not suffice. Nothing here mends: the model has no head."
    )


def test_rows_behind_the_patches_stay():
    rows = np.ones((1, 1 + 12 + 5, 8), np.float32)
    state = {"pos_embed": rows, "cls_token": rows[:, :1], "det_token": rows[:, :5]}
    hints = Hints(grid_size=(3, 4), num_prefix_tokens=1, origins={"grid_size": "--grid-size"})
    given = Checkpoint.from_state_dict(state, source="yolos.pth", hints=hints)
    (finding,) = explain(given, 1 + 48 + 5)
    assert "pos_embed has 18 rows = 1 + 3×4 + 5 (" in finding.message
    assert "expects 54 = 1 + 6×8 + 5 (" in finding.message


def test_the_row_of_the_class_token_is_added_to_it_and_not_cut():
    given = checkpoint(197)
    (finding,) = explain(given, 196)
    state = {key: torch.tensor(given.tensor(key)) for key in given}
    before = {key: value.clone() for key, value in state.items()}
    exec(finding.mend, {"state": state})
    row = before["pos_embed"][:, :1]
    assert torch.equal(state["cls_token"], before["cls_token"] + row)
    assert torch.equal(state["pos_embed"], before["pos_embed"][:, 1:])


def test_a_model_with_a_token_that_the_file_lacks_is_of_another_class():
    given = checkpoint(196, 0)
    (finding,) = explain(given, 197)
    assert finding.mend.startswith("# The file holds no class token: a model with more is of")
    finding = against(given, checkpoint(197, 1))[0]
    assert finding.mend.startswith("None by rows alone: the model also has cls_token")
    finding = against(checkpoint(197, 1), given)[0]
    assert finding.mend.startswith("None by rows alone: the file also has cls_token")


def test_one_tensor_under_two_names_is_recognised_by_its_shape():
    registers = np.ones((1, 4, 8), np.float32)
    mine, other = (
        plus(checkpoint(), register_tokens=registers),
        plus(checkpoint(), reg_tok=registers),
    )
    (finding,) = against(mine, other)
    assert finding.mend == "state['reg_tok'] = state.pop('register_tokens')"
