"""The peer of `benchmarks/similarity.py`: the usual way to draw a checkpoint's similarity maps.

A script of one's own, as research repositories have it: load the file with torch, build the
model, load the weights, and draw one seaborn heatmap to one file for each map. For twelve layers
that is 25 maps: the stored table's map of one patch, and for every layer the map of all pairs
and that of the patch. Written from that description; the patch is the one in row 6, column 6.

    python benchmarks/reference.py CHECKPOINT FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import seaborn as sns
import timm
import torch
from torch import nn
from torch.nn.functional import normalize

QUERY = 90


def build_model() -> nn.Module:
    """DeiT-Ti with a LayerNorm for the position embedding in every block."""
    model = timm.create_model("deit_tiny_patch16_224", num_classes=1000)
    for block in model.blocks:
        block.pe_norm = nn.LayerNorm(model.embed_dim, eps=1e-6)
    return model


def draw(values: torch.Tensor, path: Path) -> None:
    """One heatmap, one file."""
    axes = sns.heatmap(values.numpy(), vmin=0, vmax=1)
    axes.tick_params(left=False, bottom=False)
    plt.savefig(path)
    plt.close()


def cosines(table: torch.Tensor) -> torch.Tensor:
    """The cosine of every pair of rows."""
    rows = normalize(table, dim=1)
    return rows @ rows.T


def main(checkpoint: str, folder: str) -> None:
    """Draw the 25 maps of a LaPE checkpoint."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with torch.serialization.safe_globals([argparse.Namespace]), torch.no_grad():
        weights = torch.load(checkpoint, map_location="cpu")["model"]
        model = build_model()
        model.load_state_dict(weights)
        table = model.pos_embed[0, 1:]
        draw(cosines(table)[QUERY].reshape(14, 14), out / "raw_query.jpg")
        for k, block in enumerate(model.blocks):
            norm = block.pe_norm
            table = nn.functional.layer_norm(table, table.shape[1:], norm.weight, norm.bias, 1e-5)
            draw(cosines(table), out / f"layer{k}.jpg")
            draw(cosines(table)[QUERY].reshape(14, 14), out / f"layer{k}_query.jpg")


if __name__ == "__main__":
    main(*sys.argv[1:])
