"""What a live model did on a set of images: the second container, numpy alone.

A trace holds sums, never images: its size does not depend on how many there were. Nothing that
reads it knows that torch exists. Saved as `*.trace.safetensors`, reopened bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float, Int, Shaped
from pe_inspect.bounded import parsed_json
from pe_inspect.errors import UnreadableCheckpoint, reason
from pe_inspect.files import write_atomically

__all__ = [
    "AttentionExample",
    "AttentionSums",
    "Edit",
    "FoldSums",
    "ImageSet",
    "LogitSums",
    "PositionShare",
    "TokenSums",
    "Trace",
    "VarianceReplicates",
]

FORMAT_VERSION: Final = 1
_HEADER: Final = "pe_inspect_trace"


class _Frozen:
    """Makes every array of a dataclass contiguous and read-only, of the type that it came in."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                array = np.ascontiguousarray(value).view().reshape(value.shape)
                array.flags.writeable = False
                object.__setattr__(self, name, array)


@dataclass(frozen=True)
class ImageSet:
    """Which images were run, and how they became tensors.

    Attributes:
        source: the folder, dataset or default that they are from, in words.
        count: how many were run.
        sha256: the hash of their pixels as the model's size has them, in order, hexadecimal.
        preprocessing: what was done to them, in words.
        mean: what becomes 0 in each channel, on [0, 1].
        std: what becomes 1 in each channel, on [0, 1].
        left_out: the files that could not be read, with the reason.
    """

    source: str
    count: int
    sha256: str = ""
    preprocessing: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class VarianceReplicates(_Frozen):
    """Bootstrap replicates over images of the sums of squares behind a share of variance.

    They are taken along a few random directions of the channels, so that only their spread means
    something, not their level.

    Attributes:
        count: how many images each replicate has.
        ss_position: between positions.
        ss_total: of all.
        ss_images: between images.
    """

    count: Float[np.ndarray, " replicates"]
    ss_position: Float[np.ndarray, " replicates"]
    ss_total: Float[np.ndarray, " replicates"]
    ss_images: Float[np.ndarray, " replicates"]


@dataclass(frozen=True, eq=False)
class TokenSums(_Frozen):
    """The tokens of one place in the model, over all images.

    Attributes:
        place: `"h0"` ahead of block 0, `"h1"` after it, …, `"final"` after the last norm; the
            name of a block for what its attention receives.
        grid_size: (rows, columns) of the patches there.
        mean: of every token over images, (prefix tokens + patches, channels), prefix first.
        norm: the mean 2-norm of every token.
        ss_total: the patches' sum of squares about the grand mean, over images, patches, channels.
        ss_images: the part of it between images: N Σ |mean of an image − grand mean|².
        ss_channels: `ss_total` by channel.
        replicates: of the sums of squares over images, where they were asked for.
    """

    place: str
    grid_size: tuple[int, int]
    mean: Float[np.ndarray, "tokens channels"]
    norm: Float[np.ndarray, " tokens"]
    ss_total: float
    ss_images: float
    ss_channels: Float[np.ndarray, " channels"]
    replicates: VarianceReplicates | None = None

    @property
    def num_patches(self) -> int:
        """Rows times columns."""
        return self.grid_size[0] * self.grid_size[1]

    @property
    def patches(self) -> Float[np.ndarray, "patches channels"]:
        """The mean patch tokens."""
        return self.mean[len(self.mean) - self.num_patches :]


@dataclass(frozen=True, eq=False)
class LogitSums(_Frozen):
    """The logits of patch pairs as sums of parts of query times parts of key, centred over keys.

    Attributes:
        parts: `"content"`, `"position"`, `"constant"`.
        terms: Σ term · logit over images, queries and keys, by head and parts of query and key.
        bias: the same of what is added to the logits after the product; 0 where nothing is.
        square: Σ logit².
        residual: the largest difference between a logit and the sum of its terms.
    """

    parts: tuple[str, ...]
    terms: Float[np.ndarray, "heads query_parts key_parts"]
    bias: Float[np.ndarray, " heads"]
    square: Float[np.ndarray, " heads"]
    residual: float


@dataclass(frozen=True, eq=False)
class AttentionSums(_Frozen):
    """What the heads of one block attend to, over all images (of windowed attention: windows).

    R is the attention among patches, renormalised so that every query's sums to 1.

    Attributes:
        layer: the block.
        grid_size: (rows, columns) of the patches that attend to each other: of a window's.
        is_window: whether the grid is a window.
        num_queries: patch queries that were looked at: all of the grid, or a sample.
        distance_raw: mean Euclidean distance in patches, prefix keys counting 0.
        distance_renormalised: the same of R.
        distance_uniform: what equal attention to all patches gives for these queries.
        entropy_all_keys: nats, of patch queries over all keys, prefix included.
        entropy_renormalised: nats, of R: the mean over images and queries.
        entropy_of_mean: nats, of the mean of R over images: the mean over queries; NaN where no
            mean map was kept.
        log_keys: mean ln of the number of patches that a query may attend to.
        prefix_share: of the patch queries' attention.
        offset_profile: the mean of R over images and over all pairs with key − query = (dy, dx);
            [dy + rows − 1, dx + columns − 1]; NaN where no pair has that offset.
        pair_counts: how many pairs have each offset.
        mean_square: Σ over pairs of (the mean of R over images)²; NaN where no mean map was kept.
        num_pairs: how many pairs that sum is over.
        cls_map: the CLS query's attention to patches, mean over images, as it is (the rest is on
            prefix tokens); `None` without a CLS.
        cls_entropy: nats, of that row over all keys: the mean over images.
        logits: the decomposition of its logits, where it was asked for and has a meaning.
        distance_replicates: of `distance_renormalised`, drawn anew over images.
    """

    layer: str
    grid_size: tuple[int, int]
    is_window: bool
    num_queries: int
    distance_raw: Float[np.ndarray, " heads"]
    distance_renormalised: Float[np.ndarray, " heads"]
    distance_uniform: float
    entropy_all_keys: Float[np.ndarray, " heads"]
    entropy_renormalised: Float[np.ndarray, " heads"]
    entropy_of_mean: Float[np.ndarray, " heads"]
    log_keys: float
    prefix_share: Float[np.ndarray, " heads"]
    offset_profile: Float[np.ndarray, "heads offsets_down offsets_right"]
    pair_counts: Int[np.ndarray, "offsets_down offsets_right"]
    mean_square: Float[np.ndarray, " heads"]
    num_pairs: int
    cls_map: Float[np.ndarray, "heads patches"] | None = None
    cls_entropy: Float[np.ndarray, " heads"] | None = None
    logits: LogitSums | None = None
    distance_replicates: Float[np.ndarray, "replicates heads"] | None = None

    @property
    def num_heads(self) -> int:
        """Attention heads of the block."""
        return len(self.distance_raw)


@dataclass(frozen=True, eq=False)
class AttentionExample(_Frozen):
    """What one patch of the first image attends to, in every block that sees the whole image.

    Attributes:
        image: as the model sees it, ahead of its normalisation, uint8.
        token: (row, column) of the patch, on the grid of the model's input.
        layers: the blocks.
        grid_sizes: (rows, columns) of the patches in each.
        weights: of each, its attention by head; prefix keys have what is missing to 1.
    """

    image: Shaped[np.ndarray, "height width 3"]
    token: tuple[int, int]
    layers: tuple[str, ...]
    grid_sizes: tuple[tuple[int, int], ...]
    weights: tuple[Float[np.ndarray, "_ _"], ...]


@dataclass(frozen=True, eq=False)
class PositionShare(_Frozen):
    """LaPE's λ of one block, means over images and patches: x = x̃ + ω ahead of its norm.

    Attributes:
        layer: the block.
        content: λ₁ = σ(x̃) / σ(x).
        position: λ₂ = σ(ω) / σ(x).
        residual: the largest |LN(x) − λ₁ LN(x̃) − λ₂ LN(ω)|.
        correlation: the mean Pearson correlation of LN(x̃) with LN(ω) over channels.
    """

    layer: str
    content: float
    position: float
    residual: float
    correlation: float


@dataclass(frozen=True, eq=False)
class Edit(_Frozen):
    """What follows from one change of the positions, at every place of the stream.

    Attributes:
        name: `"zero"`, `"mean_row"`, `"shuffled"`, `"roll_1"`, …
        cls_cosine: mean cosine of the CLS token to the unedited run's; `None` without a CLS.
        patch_cosine: the same of patch tokens.
    """

    name: str
    cls_cosine: Float[np.ndarray, " places"] | None
    patch_cosine: Float[np.ndarray, " places"]


@dataclass(frozen=True, eq=False)
class FoldSums(_Frozen):
    """What ridge regressions on the patch tokens of one place need, by folds.

    Image i is in fold i mod folds; position p in the fold that `folds` of the trace says.

    Attributes:
        place: as of `TokenSums`.
        centre: was subtracted from every token.
        sums: Σ tokens over the images of a fold, by position.
        grams: Σ token ⊗ token over the images of a fold and the positions of a fold.
        r2_replicates: of R² on held-out images and positions, by row and column: each fit is kept
            and the images that it is tested on are drawn anew.
    """

    place: str
    centre: Float[np.ndarray, " channels"]
    sums: Float[np.ndarray, "image_folds patches channels"]
    grams: Float[np.ndarray, "image_folds position_folds channels channels"]
    r2_replicates: Float[np.ndarray, "replicates 2"] | None = None


@dataclass(frozen=True, eq=False)
class Trace(_Frozen):
    """What a live model did on a set of images.

    Attributes:
        source: the checkpoint or model, as it was given.
        images: which images were run.
        res: (height, width) in pixels.
        patch_size: (height, width) in pixels.
        grid_size: (rows, columns) of patches at the model's input.
        num_prefix_tokens: CLS, DIST and registers; all of them ahead of the patches.
        has_cls: whether the first of them is a CLS token.
        layer_names: the blocks.
        states: the tokens by place, of each run: `"base"`, `"null"`, …
        normed: what every block's attention receives, in the base run.
        attention: the blocks whose attention could be summed, in the base run.
        shares: λ by block; none where positions do not enter the stream as vectors.
        edits: the changes of positions that were run.
        mean_colour: mean tokens by place for one image of the preprocessing's mean colour.
        folds: sums for the probe, of each run.
        image_fold_counts: how many images are in each fold.
        position_folds: the fold of every position.
        library: whose model ran: `"timm"`, `"transformers"`, …
        architecture: its class or registered name.
        sha256: of the weight file.
        dtype: what the model ran in.
        seed: of what is random.
        versions: of the libraries that ran.
        notes: every guess and omission, in words.
        example: what a patch of the first image attends to, where attention was asked for.
        zero_patch: mean tokens by place where every patch's projection is 0, without its bias.
        position_attention: what each block would attend to if its patches were their position
            vectors alone: LN(ω) W_q W_kᵀ LN(ω)ᵀ, over patches. It is exact for the first block,
            and a proxy for those behind it.
        untrained: the same of a model of the same shape with fresh weights, where asked for.
    """

    source: str
    images: ImageSet
    res: tuple[int, int]
    patch_size: tuple[int, int]
    grid_size: tuple[int, int]
    num_prefix_tokens: int
    has_cls: bool
    layer_names: tuple[str, ...]
    states: Mapping[str, tuple[TokenSums, ...]]
    normed: tuple[TokenSums, ...] = ()
    attention: tuple[AttentionSums, ...] = ()
    shares: tuple[PositionShare, ...] = ()
    edits: tuple[Edit, ...] = ()
    mean_colour: tuple[Float[np.ndarray, "_ _"], ...] = ()
    folds: Mapping[str, tuple[FoldSums, ...]] = field(default_factory=dict)
    image_fold_counts: tuple[int, ...] = ()
    position_folds: Int[np.ndarray, " patches"] | None = None
    library: str = ""
    architecture: str = ""
    sha256: str = ""
    dtype: str = "float32"
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    example: AttentionExample | None = None
    zero_patch: tuple[Float[np.ndarray, "_ _"], ...] = ()
    position_attention: tuple[AttentionSums, ...] = ()
    untrained: Trace | None = None

    def __repr__(self) -> str:
        rows, columns = self.grid_size
        return (
            f"Trace({self.source or self.architecture}, {self.images.count} images, "
            f"{rows}×{columns} patches, {len(self.layer_names)} blocks, runs: "
            f"{', '.join(self.runs)})"
        )

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that it holds: base, null, every edit, mean colour, zero patches, untrained."""
        edits = (edit.name for edit in self.edits)
        others = ("mean_colour", "zero_patch", "untrained")
        return (*self.states, *edits, *(name for name in others if getattr(self, name)))

    @property
    def places(self) -> tuple[str, ...]:
        """The places of the residual stream, in order: `h0` … `final`."""
        return tuple(sums.place for sums in self.states["base"])

    def save(self, path: str | Path) -> Path:
        """Write `*.trace.safetensors`, whole or not at all; `open` reads it back bit for bit."""
        from safetensors.numpy import save

        arrays: dict[str, np.ndarray] = {}
        plain = {"version": FORMAT_VERSION, "trace": _plain(self, "trace", arrays)}
        content = save(arrays, metadata={_HEADER: json.dumps(plain)})
        return write_atomically(Path(path), lambda file: file.write(content))

    @classmethod
    def open(cls, path: str | Path) -> Trace:
        """Reopen what `save` wrote.

        Raises:
            UnreadableCheckpoint: the file is no trace, or one of another version.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                saved = parsed_json((file.metadata() or {})[_HEADER])
                _check_version(path, saved["version"])
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            trace: Trace = _rebuilt(saved["trace"], arrays)
        except (SafetensorError, *_MEANS_NO_TRACE) as error:
            raise UnreadableCheckpoint(
                f"{path} is not a saved trace (*.trace.safetensors): {reason(error)}. "
                "Make one with pei.trace(model, images).save(path)."
            ) from error
        return trace


def _check_version(path: str | Path, version: Any) -> None:
    if version != FORMAT_VERSION:
        raise UnreadableCheckpoint(
            f"{path} is a trace of format {version}, and this release reads format "
            f"{FORMAT_VERSION}. Run pei.trace on the model again."
        )


_MEANS_NO_TRACE: Final = (
    *(KeyError, TypeError, ValueError, AttributeError, OSError),
    *(OverflowError, RecursionError),
)
_PARTS: Final = {
    part.__name__: part
    for part in (
        *(ImageSet, TokenSums, LogitSums, AttentionSums, PositionShare, Edit, FoldSums),
        *(AttentionExample, VarianceReplicates, Trace),
    )
}


def _plain(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as JSON has it; its arrays are entered under dotted names."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if type(value).__name__ in _PARTS:
        parts = {f.name: _plain(getattr(value, f.name), f"{name}.{f.name}", arrays)
                 for f in fields(value)}  # fmt: skip
        return {"part": type(value).__name__, "fields": parts}
    if isinstance(value, Mapping):
        return {"map": {key: _plain(v, f"{name}.{key}", arrays) for key, v in value.items()}}
    if isinstance(value, tuple):
        return [_plain(each, f"{name}.{i}", arrays) for i, each in enumerate(value)]
    return value


def _rebuilt(saved: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(saved, list):
        return tuple(_rebuilt(each, arrays) for each in saved)
    if not isinstance(saved, dict):
        return saved
    if "array" in saved:
        return arrays[saved["array"]]
    if "map" in saved:
        return {key: _rebuilt(each, arrays) for key, each in saved["map"].items()}
    values = {name: _rebuilt(each, arrays) for name, each in saved["fields"].items()}
    return _PARTS[saved["part"]](**values)
