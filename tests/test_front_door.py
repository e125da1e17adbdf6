"""The public functions take an embedding, a checkpoint, a path, a module or a state dict."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import pe_inspect as pei
from pe_inspect.live.weights import CannotRebuild
from pe_inspect.loading.opening import path_text
from pe_inspect.page import Report

GRID = pei.Hints(grid_size=(3, 4), num_prefix_tokens=1)


def states(*, with_bias: bool = False) -> dict[str, np.ndarray]:
    """A ViT with a learned table of 4×4 patches, and a relative bias beside it if asked for."""
    random = np.random.default_rng(0)
    shapes = {
        "cls_token": (1, 1, 8),
        "pos_embed": (1, 17, 8),
        "patch_embed.proj.weight": (8, 3, 4, 4),
        "blocks.0.norm1.weight": (8,),
        "blocks.0.norm1.bias": (8,),
        "blocks.0.attn.qkv.weight": (24, 8),
    }
    if with_bias:
        shapes["blocks.0.attn.relative_position_bias_table"] = (49, 2)
    return {k: random.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}


class Vit(torch.nn.Module):
    """A module with these weights."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        super().__init__()
        for name, values in state.items():
            *folders, last = name.split(".")
            place = self
            for folder in folders:
                if not hasattr(place, folder):
                    place.add_module(folder, torch.nn.Module())
                place = getattr(place, folder)
            place.register_parameter(last, torch.nn.Parameter(torch.from_numpy(values)))


@pytest.fixture
def path(tmp_path):
    save_file(states(), tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


@pytest.fixture
def two_schemes(tmp_path):
    save_file(states(with_bias=True), tmp_path / "two.safetensors")
    return tmp_path / "two.safetensors"


SUBJECTS = {
    "embedding": lambda path: pei.extract(pei.load(path))[0],
    "checkpoint": pei.load,
    "path": lambda path: path,
    "text": str,
    "module": lambda _: Vit(states()),
    "state dict": lambda _: states(),
    "torch's state dict": lambda _: Vit(states()).state_dict(),
}


@pytest.mark.parametrize("sort", SUBJECTS)
def test_every_subject_has_the_same_answer(path, sort):
    subject = SUBJECTS[sort](path)
    usual = pei.similarity(pei.extract(pei.load(path))[0])
    assert pei.similarity(subject).summary() == pytest.approx(usual.summary(), nan_ok=True)
    assert pei.interpolate(subject, grid=(3, 5)).grid_size == (3, 5)
    assert pei.layernorm(subject).names == ("norm1",)


def test_extract_opens_what_it_is_given(path):
    assert [pe.family for pe in pei.extract(path)] == ["learned_absolute"]
    assert pei.extract(states())[0].grid_size == (4, 4)


def test_hints_of_a_checkpoint_are_kept(tmp_path):
    wide = states() | {"pos_embed": np.ones((1, 13, 8), np.float32)}
    save_file(wide, tmp_path / "wide.safetensors")
    checkpoint = pei.load(tmp_path / "wide.safetensors", hints=GRID)
    assert pei.similarity(checkpoint, family="learned_absolute").grid_size == (3, 4)


def test_several_embeddings_are_named_and_family_chooses(two_schemes):
    with pytest.raises(pei.UsageError, match="holds 2 position embeddings:\n  learned_abs") as said:
        pei.similarity(two_schemes)
    assert "relative_bias · 4×4" in str(said.value)
    assert "Pass family='learned_absolute'" in str(said.value)
    assert pei.similarity(two_schemes, family="relative_bias").pe.family == "relative_bias"
    assert len(pei.extract(two_schemes)) == 2
    with pytest.raises(pei.UsageError, match="Did you mean 'relative_bias'"):
        pei.similarity(two_schemes, family="relative_bais")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (3, r"Expected a PositionEmbedding, a Checkpoint, a path, a module or a state dict, not "),
        (None, "not NoneType"),
        ([1, 2], r"given a list of 2\. Pass one of them, as pe_inspect\.extract"),
        ({"model": {}}, r"as subject\['model'\]"),
        ({}, "no state dict"),
        ({"state": {}, "param_groups": []}, r"an optimiser.*model\.state_dict\(\)"),
        (torch.nn.Linear, "was given the class Linear"),
        (b"vit.pth", "not bytes"),
    ],
)
@pytest.mark.parametrize(
    "name",
    ["similarity", "interpolate", "layernorm", "extract", "rebuild", "doctor", "evaluate", "trace"],
)
def test_a_wrong_argument_names_the_right_call(name, wrong, said):
    with pytest.raises(pei.UsageError, match=said):
        getattr(pei, name)(wrong)


@pytest.mark.parametrize("name", ["attention", "contribution", "probe"])
@pytest.mark.parametrize("wrong", [3, "vit.pth", None, {}])
def test_a_question_about_runs_names_what_makes_a_trace(name, wrong):
    with pytest.raises(pei.UsageError, match=r"pe_inspect\.trace\(model, images\) makes one"):
        getattr(pei, name)(wrong)


@pytest.mark.parametrize("wrong", [3, None, {"w": np.zeros(2)}, b"vit.pth"])
def test_what_is_no_path_is_refused_with_what_takes_it(wrong):
    with pytest.raises(pei.UsageError, match=r"Expected the path of .*pe_inspect\.extract"):
        path_text(wrong)


@pytest.mark.parametrize("name", ["load", "gallery", "evolution", "similarity"])
def test_an_empty_path_is_not_the_folder_one_stands_in(name):
    with pytest.raises(pei.UnreadableCheckpoint, match=r"The path is empty\. Give a "):
        getattr(pei, name)("")


@pytest.mark.parametrize("sort", ["checkpoint", "path", "state dict"])
def test_a_trace_is_made_of_whatever_holds_a_model(path, sort):
    with pytest.raises(CannotRebuild, match="does not say which architecture"):
        pei.trace(SUBJECTS[sort](path))


def test_what_needs_the_whole_checkpoint_says_so(path):
    (table,) = pei.extract(path)
    with pytest.raises(pei.UsageError, match="needs a whole checkpoint"):
        pei.rebuild(table)


def test_an_answer_is_not_asked_again(path):
    with pytest.raises(pei.UsageError, match="SimilarityResult is an answer already"):
        pei.layernorm(pei.similarity(path))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(pei.UnreadableCheckpoint, match=r"No file or folder at nowhere\.pth"):
        pei.similarity("nowhere.pth")


@pytest.mark.parametrize("name", ["similarity", "interpolate", "layernorm", "extract"])
def test_the_signature_shows_the_subject_and_the_family(name):
    parameters = inspect.signature(getattr(pei, name)).parameters
    assert next(iter(parameters)) == "subject"
    assert parameters["family"].default is None
    assert "a path or a name" in getattr(pei, name).__doc__


@pytest.mark.parametrize("sort", SUBJECTS)
def test_the_doctor_examines_one_embedding_alone_and_all_else_whole(path, sort):
    subject = SUBJECTS[sort](path)
    alone = pei.doctor(pei.extract(pei.load(path))[0])
    found = pei.doctor(subject)
    if sort == "embedding":
        assert found.checks == alone.checks
    else:
        assert set(found.checks) > set(alone.checks)
    assert found.healthy == alone.healthy


def test_the_doctor_compares_with_any_subject(path, two_schemes):
    same = pei.doctor(path, against=states())
    other = pei.doctor(path, against=states() | {"pos_embed": np.ones((1, 10, 8), np.float32)})
    assert len(other.findings) > len(same.findings)
    assert [pe.family for pe in pei.doctor(two_schemes, family="relative_bias").tables] == [
        "relative_bias"
    ]


def test_several_subjects_of_any_sort_are_set_side_by_side(path, two_schemes):
    (table,) = pei.extract(path)
    found = pei.compare(path, [table, pei.similarity(table)], states())
    assert len(set(found.labels)) == 4
    assert found.pair(0, 3)["cka"] == pytest.approx(1)
    whole = pei.compare(path, two_schemes, labels=["a", "b", "c"])
    assert whole.labels == ("a", "b", "c")
    assert pei.compare(path, two_schemes, family="learned_absolute").labels == ("vit", "two")
    with pytest.raises(pei.UsageError, match=r"given 1 labels \(1 different ones\) for 2 embed"):
        pei.compare(path, table, labels=["a"])


def test_runs_that_differ_in_their_seed_alone_are_one_group(tmp_path):
    for seed in (0, 1):
        (tmp_path / f"run{seed}").mkdir()
        save_file(states(), tmp_path / f"run{seed}/model.safetensors")
        recipe = {"recipe": {"name": "small", "lr": 1.0, "seed": seed}, "seed": seed}
        (tmp_path / f"run{seed}/config.json").write_text(json.dumps(recipe))
    runs = [tmp_path / f"run{seed}/model.safetensors" for seed in (0, 1)]
    assert pei.compare(runs).groups == ("small", "small")
    save_file(states(), tmp_path / "other.safetensors")
    assert pei.compare(runs[0], tmp_path / "other.safetensors").groups == ("run0", "other")


@pytest.fixture
def quick_page(monkeypatch):
    """What a page was made of, instead of the page."""
    seen = []

    class BlankPage(Report):
        html = "<html>"

    def page(items, **_):
        seen.append(list(items))
        return BlankPage("", ())

    monkeypatch.setattr("pe_inspect.front.report.page_of", page)
    return seen


def test_a_page_of_a_whole_checkpoint_has_its_health(path, quick_page):
    pei.report([path, pei.extract(path)[0], pei.similarity(path)])
    kinds = [getattr(item, "question", "embedding") for item in quick_page[0]]
    assert kinds == ["embedding", "doctor", "filters", "embedding", "similarity"]


@pytest.mark.parametrize("sort", ["checkpoint", "text", "module", "state dict"])
def test_a_page_takes_one_subject_as_well_as_several(path, sort, quick_page):
    subject = SUBJECTS[sort](path)
    pei.report(subject)
    pei.report([subject])
    assert [len(items) for items in quick_page] == [3, 3]


def test_family_chooses_what_a_page_is_about(two_schemes, quick_page):
    pei.report(two_schemes, family="relative_bias")
    assert quick_page[0][0].family == "relative_bias"


@pytest.fixture
def run_folder(path, tmp_path):
    """A run's folder with three snapshots, the last of them equal to the checkpoint beside it."""
    (pe,) = pei.extract(path)
    for epoch in (2, 10, 1):
        pe.save(tmp_path / f"run/evolution/epoch_{epoch}.pe.safetensors")
    save_file(states(), tmp_path / "run/model.safetensors")
    return tmp_path / "run"


def test_a_run_is_followed_from_its_folder_its_checkpoint_or_its_snapshots(run_folder):
    by_folder = pei.evolution(run_folder)
    assert by_folder.epochs == (1, 2, 10)
    checkpoint = pei.load(run_folder / "model.safetensors")
    assert pei.evolution(checkpoint).summary() == pytest.approx(by_folder.summary(), nan_ok=True)
    files = sorted((run_folder / "evolution").iterdir())
    assert pei.evolution(files, epochs=(1, 5, 9)).epochs == (1, 5, 9)
    own = pei.evolution(str(run_folder), of=checkpoint)
    assert own.pe.source == str(run_folder / "model.safetensors")


def test_a_snapshot_that_cannot_be_read_is_named_in_the_notes(run_folder):
    (run_folder / "evolution/epoch_3.pe.safetensors").write_bytes(b"no checkpoint")
    found = pei.evolution(run_folder)
    assert found.epochs == (1, 2, 10)
    assert "left out, one of 4 snapshots" in found.notes[0]


@pytest.mark.parametrize("subject", [states(), Vit(states())])
def test_what_has_no_history_says_so(subject):
    with pytest.raises(pei.UsageError, match=r"has no history\. Pass the folder"):
        pei.evolution(subject)


def test_a_gallery_has_a_page_each_and_names_what_it_leaves_out(path, tmp_path):
    save_file(states(), tmp_path / "many.safetensors")
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    told = []
    made = pei.gallery(tmp_path, tmp_path / "out", tell=lambda name, _: told.append(name))
    assert [page.name for page in made.pages] == ["many.html", "vit.html"]
    assert [each.label for each in made.left_out] == ["bad.pth"]
    assert told == ["bad.pth", "many.html", "vit.html"]
    assert "bad.pth" in made.index.read_text(encoding="utf-8")


def test_a_gallery_of_nothing_says_what_it_is_made_of(tmp_path):
    with pytest.raises(pei.UnreadableCheckpoint, match="holds no checkpoint; a gallery is made of"):
        pei.gallery(tmp_path)
    with pytest.raises(pei.UnreadableCheckpoint, match="is no folder"):
        pei.gallery(tmp_path / "nowhere")
