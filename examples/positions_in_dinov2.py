"""Write docs/findings/positions-in-dinov2.md: what DINOv2-S makes of positions.

    python examples/positions_in_dinov2.py shared/data/dinov2-small --images FOLDER
    python examples/positions_in_dinov2.py hf-hub:facebook/dinov2-small --images FOLDER
    python examples/positions_in_dinov2.py --trace saved.trace.safetensors

64 images at 224 pixels took 192 seconds of processor time (one thread; torch 2.14). A trace that
was saved is reused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import pe_inspect as pei

OUT = Path(__file__).parents[1] / "docs/findings/positions-in-dinov2.md"
EDITS = ("zero", "mean_row", "shuffled", "transposed", "flipped", "roll_1", "half", "double")


def text_of(trace: pei.Trace, images: str) -> str:
    """Return the finding as Markdown."""
    parts = (_head(trace, images), _attention(trace), _contribution(trace), _probe(trace), _foot())
    return "\n\n".join(parts) + "\n"


def _head(trace: pei.Trace, images: str) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in trace.versions.items())
    rows, columns = trace.grid_size
    return f"""# What DINOv2-S makes of positions

`python examples/positions_in_dinov2.py` wrote this page from one trace: {trace.architecture} at
{trace.res[0]}×{trace.res[1]} pixels ({rows}×{columns} patches), {trace.images.count} images
({images}; {trace.images.preprocessing}), {trace.dtype}, {versions}. Intervals are 95 %, over
images. Definitions: `pe-inspect attention --explain` and its like."""


def _attention(trace: pei.Trace) -> str:
    result = pei.attention(trace)
    shares = {block.layer: share for block, share in zip(result.blocks, result.logit_share)}
    rows = [f"| {head.layer} head {head.head} | {head.in_words.split()[3]} | "
            f"{head.neighbour_attention:.2f} | {shares[head.layer][head.head][1, 1]:.0%} | "
            f"{head.distance_renormalised:.2f} ({head.distance_low:.2f}–{head.distance_high:.2f}) |"
            for head in result.offset_heads]  # fmt: skip
    halves = ", ".join(head.in_words for head in result.half_plane_heads)
    first = result.logit_share_block[0]
    of_uniform = np.mean([head.distance_of_uniform for head in result.heads])
    residual = max(block.logits.residual for block in result.blocks if block.logits)
    return f"""## Heads that look one patch away

{result.finding}

| head | looks | attention to it | logits by position × position | mean distance, patches |
|---|---|---|---|---|
{chr(10).join(rows)}

At one half of the image: {halves}.

Over all heads the mean distance is {of_uniform:.2f} of what equal attention gives. In the first
block {first[0, 0]:.0%} of the logits' square is content × content, and {first[1, 1]:.1%} is
position × position. The nine terms sum to the logits to {residual:.0e}."""


def _contribution(trace: pei.Trace) -> str:
    result = pei.contribution(trace)
    ends = result.omega2_interval
    rows = [f"| {place} | {result.omega2[i]:.3f} ({ends[i, 0]:.3f}–{ends[i, 1]:.3f}) | "
            f"{result.omega2_null[i]:.3f} | {result.omega2_untrained[i]:.3f} | "
            f"{result.mean_colour_cka[i]:.2f} | {result.zero_patch_cka[i]:.2f} |"
            for i, place in enumerate(trace.places)]  # fmt: skip
    by_name = {edit.name: edit for edit in trace.edits}
    edits = "\n".join(
        f"| {name} | {by_name[name].cls_cosine[-1]:.3f} | {by_name[name].patch_cosine[-1]:.3f} |"
        for name in EDITS
        if name in by_name
    )
    return f"""## How much of each layer is position

{result.finding}

ω² is beside the same images with every position replaced by the mean, and beside fresh weights.
The last two columns say how like one grey image's tokens are to the position map (linear CKA):
the mean colour, and patches without their projection, which is off-distribution.

| place | ω² | mean row | untrained | mean colour | zero patches |
|---|---|---|---|---|---|
{chr(10).join(rows)}

What follows from changed positions, at the end:

| edit | cosine of CLS | of patches |
|---|---|---|
{edits}

They depend on the images: of few, even their order does."""


def _probe(trace: pei.Trace) -> str:
    result = pei.probe(trace)
    ends = result.r2_interval.mean(axis=1)
    rows = []
    for i, place in enumerate(trace.places):
        [(channel, share)] = result.ramp_channels(i, 1)
        rows.append(
            f"| {place} | {result.r2[i].mean():.3f} ({ends[i, 0]:.3f}–{ends[i, 1]:.3f}) | "
            f"{result.r2_images[i].mean():.3f} | {result.r2_null[i].mean():.2f} | "
            f"{result.r2_untrained[i].mean():.2f} | {result.r2_permuted[i].mean():.2f} | "
            f"{channel} ({share:.2f}) |"
        )
    return f"""## How far position can be read

{result.finding}

R², mean of row and column. The first column is on images and positions that were held out; the
second, on held-out images alone, flatters. Controls: mean row, fresh weights, permuted targets.
The last column is the channel that is most a plane over the grid, and how much of its variance.

| place | R² | images alone | mean row | untrained | permuted | ramp channel |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}"""


def _foot() -> str:
    return """## What this does not say

One model, one size and one set of images: late-layer ω² and the last layer's probe depend on the
images. A probe shows what can be read, not what is used; the edits show that what is read is also
used, and roughly where. λ, the mean-colour trace and every other number are in the `--save-data`
files of the three questions."""


def main() -> None:
    """Trace, or reopen a trace, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="hf-hub:facebook/dinov2-small")
    parser.add_argument("--images", help="a folder; seeded crops of two photographs otherwise")
    parser.add_argument("--said", help="what the page calls the images")
    parser.add_argument("--trace", type=Path, help="where the trace is, or is saved")
    asked = parser.parse_args()
    if asked.trace is not None and asked.trace.exists():
        trace = pei.Trace.open(asked.trace)
    else:
        trace = pei.trace(asked.model, asked.images, res=224, untrained=True)
        if asked.trace is not None:
            trace.save(asked.trace)
    images = asked.said or Path(trace.images.source).name
    OUT.write_text(text_of(trace, images), encoding="utf-8")


if __name__ == "__main__":
    main()
