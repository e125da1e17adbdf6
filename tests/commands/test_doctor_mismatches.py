"""The doctor's verdict and `load_state_dict(strict=True)`, on generated pairs of checkpoints."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter

import pytest
import torch
import transformers
from timm.layers import resample_abs_pos_embed
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.tiny_vit import TinyVit
from timm.models.vision_transformer import VisionTransformer

import pe_inspect

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.filterwarnings("ignore"),  # of the libraries, on sizes that no paper has
]


def vit(rows=4, columns=4, width=32, depth=2, classes=3, patch=16, **more):
    size = (patch * rows, patch * columns)
    return VisionTransformer(
        size, patch, embed_dim=width, depth=depth, num_heads=2, num_classes=classes, **more
    )


def swin(window=4, depth=1, heads=2, classes=3, width=16):
    return SwinTransformer(
        8 * 4 * window, window_size=window, embed_dim=width, depths=(depth, 1, 1, 1),
        num_heads=(heads, 2, 4, 8), num_classes=classes,
    )  # fmt: skip


def swin_v2(window=4, classes=3):
    model = SwinTransformerV2(
        8 * 4 * window, window_size=window, embed_dim=16, depths=(1, 1, 1, 1),
        num_heads=(1, 2, 4, 8), num_classes=classes,
    )  # fmt: skip
    for module in model.modules():  # as Microsoft's files keep them
        for name in ("relative_coords_table", "relative_position_index"):
            if name in getattr(module, "_buffers", {}):
                module._non_persistent_buffers_set.discard(name)
    return model


def tiny_vit(window=4, classes=3):
    return TinyVit(
        window_sizes=(window, window, 2 * window, window), embed_dims=(16, 32, 32, 32),
        depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), num_classes=classes,
    )  # fmt: skip


def hugging_face(kind="ViT", side=4, **more):
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=16 * side, patch_size=16, **more,
    )  # fmt: skip
    return getattr(transformers, f"{kind}Model")(config)


def yolos(rows=4, columns=4):
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        image_size=[16 * rows, 16 * columns], patch_size=16, num_detection_tokens=10,
        use_mid_position_embeddings=False,
    )  # fmt: skip
    return transformers.YolosModel(config)


def video(side=4, frames=8):
    config = transformers.TimesformerConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=16 * side, num_frames=frames,
    )  # fmt: skip
    return transformers.TimesformerModel(config)


class WithTable(torch.nn.Module):
    """A ViT with another table, as the originals have: of time, of a decoder, of offsets."""

    def __init__(self, name, shape):
        super().__init__()
        self.body = vit()
        self.name, self.table = name, torch.nn.Parameter(torch.randn(shape) * 0.02)

    def state_dict(self, **_):
        return {**self.body.state_dict(), self.name: self.table.detach()}

    def load_state_dict(self, state, strict=True):
        mine = self.state_dict()
        wrong = [k for k in mine.keys() | state.keys() if _shape(mine, k) != _shape(state, k)]
        if wrong and strict:
            raise RuntimeError(str(wrong))


def _shape(state, key):
    return tuple(state[key].shape) if key in state else None


def _with(name, *lengths, ends):
    return [(WithTable, {"name": name, "shape": (*length, *ends)}) for length in lengths]


NO_TOKEN = {"class_token": False, "global_pool": "avg"}
SIDES = [{"rows": r, "columns": c} for r, c in ((4, 4), (6, 6), (3, 5), (4, 8), (7, 7), (5, 5))]
GROUPS = {
    "grid": [(vit, side) for side in SIDES],
    "grid, no class token": [(vit, {**side, **NO_TOKEN}) for side in SIDES],
    "prefix": [
        (vit, more)
        for more in ({}, {"reg_tokens": 4}, NO_TOKEN)
    ],
    "registers without rows": [
        (vit, {**side, "reg_tokens": 4, "no_embed_class": True}) for side in SIDES[:3]
    ],
    "width": [(vit, {"width": width}) for width in (32, 48, 64)],
    "depth": [(vit, {"depth": depth}) for depth in (1, 2, 3, 4)],
    "classes": [(vit, {"classes": classes}) for classes in (3, 5, 0)],
    "grid and classes": [(vit, {"rows": n, "columns": n, "classes": n - 1}) for n in (4, 6, 7)],
    "norms": [(vit, more) for more in ({}, {"pre_norm": True}, {"init_values": 1e-5})],
    "window": [(swin, {"window": window}) for window in (2, 4, 5, 7)],
    "heads": [(swin, {"heads": heads}) for heads in (1, 2, 4)],
    "window of a network": [(swin_v2, {"window": window}) for window in (2, 4, 6)],
    "distances": [(tiny_vit, {"window": window}) for window in (2, 3, 4)],
    "time": _with("time_embed", (1, 8), (1, 96), (1, 12), (1, 16), ends=(32,)),
    "decoder": _with("decoder_pos_embed", (1, 17), (1, 37), (1, 50), (1, 65), ends=(16,)),
    "offsets": _with("blocks.0.attn.full_rel_pos_h", (7,), (13,), (27,), (63,), ends=(16,)),
    "unknown": _with("blocks.1.attn.where_h", (7,), (13,), (27,), (63,), ends=(16,)),
    "detection rows": [(yolos, side) for side in SIDES[:4]],
    "video": [(video, {}), (video, {"side": 6})],
    "frames": [(video, {}), (video, {"frames": 16})],
    "DINOv2": [
        (vit, {"patch": 14, "init_values": 1e-5, **more})
        for more in ({}, {"reg_tokens": 4, "no_embed_class": True}, {"rows": 6, "columns": 6})
    ],
    "CLIP, SigLIP": [(hugging_face, {"kind": kind}) for kind in ("CLIPVision", "SiglipVision")],
    **{
        f"transformers {kind}": [(hugging_face, {"kind": kind, "side": n}) for n in (4, 6, 7, 9)]
        for kind in ("ViT", "DeiT", "Dinov2", "ViTMSN", "ViTMAE")
    },
}  # fmt: skip
FIRST = {
    "width": "mismatch-width",
    "depth": "mismatch-width",
    "classes": "mismatch-tensors",
    "norms": "mismatch-",
    "heads": "mismatch-width",
    "window of a network": "mismatch-grid",
    "distances": "mismatch-grid",
    "time": "mismatch-position",
    "decoder": "mismatch-position",
    "offsets": "mismatch-position",
    "unknown": "mismatch-position",
    "frames": "mismatch-position",
}  # all others: mismatch-rows
ALONE = "This mend alone does not suffice"
TIMM_S = ("grid", "grid, no class token")
PAIRS = [
    (group, *pair) for group, ways in GROUPS.items() for pair in itertools.product(ways, repeat=2)
]


def made(way, cache={}):  # noqa: B006 - every model is built once
    make, settings = way
    key = (make.__name__, str(settings))
    if key not in cache:
        torch.manual_seed(len(cache))
        cache[key] = make(**settings)
    return cache[key]


def loads(model, state):
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError:
        return False
    return True


def told(here, there):
    files = [pe_inspect.Checkpoint.from_state_dict(s.state_dict(), source=n) for s, n in
             ((here, "here"), (there, "there"))]  # fmt: skip
    found = pe_inspect.doctor(files[0], against=files[1])
    return [f for f in found.findings if f.code.startswith("mismatch")]


def test_the_verdict_is_that_of_a_strict_load_and_the_first_explanation_is_the_change():
    wrong, unexplained, counts = [], [], Counter()
    for group, a, b in PAIRS:
        here, there = made(a), made(b)
        findings = told(here, there)
        fits = loads(made(b), here.state_dict())
        if fits != (not findings):
            wrong.append((group, a, b))
        if not fits and findings:
            counts["unfit"] += 1
            if not findings[0].code.startswith(FIRST.get(group, "mismatch-rows")):
                unexplained.append((group, a[1], b[1], findings[0].code, findings[0].message))
    assert wrong == []
    assert len(unexplained) <= 0.05 * counts["unfit"], unexplained


def test_every_recipe_of_the_corpus_makes_a_state_dict_that_loads_strictly():
    """But for one that says that it does not suffice; a square grid's gives timm's own table."""
    counts, wrong = Counter(), []
    for group, a, b in PAIRS:
        here, there = made(a), made(b)
        runs = [f.mend for f in told(here, there) if "state[" in f.mend]
        said = [ALONE in text for text in runs]
        if not runs:
            continue
        assert len(set(said)) == 1
        state = {key: value.clone() for key, value in here.state_dict().items()}
        for text in runs:
            exec(text, {"state": state})
        counts["not alone" if said[0] else "recipes"] += len(runs)
        if loads(there, state) == said[0]:
            wrong.append((group, a[1], b[1], runs))
        elif _sides(a[1]) and _sides(b[1]) and group in TIMM_S:
            prefix = here.num_prefix_tokens
            expected = resample_abs_pos_embed(
                here.pos_embed, new_size=_sides(b[1]), old_size=_sides(a[1]),
                num_prefix_tokens=prefix,
            )  # fmt: skip
            counts["compared"] += 1
            if not torch.equal(state["pos_embed"], expected):
                wrong.append((group, a[1], b[1], "another table"))
    assert wrong == []
    assert counts["recipes"] >= 100
    assert counts["not alone"] >= 4
    assert counts["compared"] >= 20


def _sides(settings):
    """The grid of a square model; nothing tells a table's rows from its columns."""
    rows, columns = settings.get("rows", 4), settings.get("columns", 4)
    return [rows, columns] if rows == columns else None


FOLDERS = {
    "ViT": {},
    "Dinov2": {},
    "Dinov2WithRegisters": {},
    "ViTMSN": {},
    "CLIPVision": {},
    "SiglipVision": {},
    "IJepa": {},
    "ViTMAE": {"mask_ratio": 0.0},
}


@pytest.mark.parametrize("kind", FOLDERS)
@torch.no_grad()
def test_the_command_for_a_folder_writes_what_its_library_resizes_to(kind, run, here):
    small, large = (hugging_face(kind, side, **FOLDERS[kind]).eval() for side in (4, 6))
    for each, name in ((small, "small"), (large, "large")):
        for key, value in each.named_parameters():
            if "position" in key:
                value.copy_(torch.randn(value.shape))
        each.save_pretrained(name)
    found = run("doctor", "small", "--against", "large", "--json").json
    (mend,) = [f["mend"] for f in found["findings"] if f["code"].startswith("mismatch")]
    words = shlex.split(mend)[1:]
    assert run(*words, "--no-figures", "--force").code == 0
    made_larger = type(large).from_pretrained(words[-1]).eval()
    images = torch.randn(1, 3, 96, 96)
    options = {"interpolate_pos_encoding": True}
    if kind == "ViTMAE":
        options["noise"] = torch.arange(36)[None].float()
    theirs = small(pixel_values=images, **options).last_hidden_state
    options.pop("interpolate_pos_encoding")
    ours = made_larger(pixel_values=images, **options).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)


FILES = ("grid", "window", "window of a network", "distances", "grid, no class token")


@pytest.mark.parametrize("group", FILES)
def test_the_command_that_it_prints_makes_a_file_that_loads_strictly(group, run, here):
    first, *others = GROUPS[group]
    torch.save(made(first).state_dict(), "here.pth")
    for way in others:
        torch.save(made(way).state_dict(), "there.pth")
        found = run("doctor", "here.pth", "--against", "there.pth", "--json").json
        mends = [f["mend"] for f in found["findings"] if f["code"].startswith("mismatch")]
        if way[1].get("rows") != way[1].get("columns"):  # the other file does not tell its grid
            continue
        command = next(mend for mend in mends if mend.startswith("pe-inspect"))
        words = shlex.split(command)[1:]
        assert run(*words, "--no-figures", "--force").code == 0
        made(way).load_state_dict(torch.load(words[-1], weights_only=True), strict=True)
