"""Live models from Hugging Face's folders, as their config.json describes them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pe_inspect.extras import needed
from pe_inspect.live.hosts.common import IMAGENET, Preprocessing
from pe_inspect.live.weights import CannotRebuild
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.loading.formats.huggingface import read_object

__all__ = ["is_classifier", "is_of_transformers", "transformers_model"]

_TOWERS: Final = ("vision_config", "vision_cfg")
_FILTERS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_NAMED: Final = 4
# What features do not depend on: read by no block, or drawn for masked training only.
_IDLE: Final = ("pooler", "mask_token", "position_ids")


def is_of_transformers(checkpoint: Checkpoint) -> bool:
    """Whether a config.json names its model as transformers does."""
    return isinstance(_config(checkpoint).get("model_type"), str)


def transformers_model(checkpoint: Checkpoint) -> nn.Module:
    """Build the model that transformers has for a config.json, and load it.

    A classifier keeps its logits; of CLIP and SigLIP it is the vision tower.

    Raises:
        MissingLibrary: transformers is not installed.
        CannotRebuild: it does not know the model, or the weights are not those of that model.
    """
    library = _library(checkpoint)
    config, model_class = _described(checkpoint, library)
    state = {
        checkpoint.stored_key(key): torch.from_numpy(np.array(checkpoint.tensor(key)))
        for key in checkpoint
    }
    with _quiet(library):
        model, report = model_class.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, dtype=torch.float32
        )
    _check(checkpoint, model, report)
    preprocessing = _preprocessing(checkpoint)
    if preprocessing is not None:
        model.pe_inspect_preprocessing = preprocessing
    live: nn.Module = model
    return live


def _config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    config: Any = checkpoint.metadata.get("config")
    return config if isinstance(config, Mapping) else {}


def _library(checkpoint: Checkpoint) -> Any:
    with needed(f"{checkpoint.source}, a model of transformers,"):
        import transformers
    return transformers


def _described(checkpoint: Checkpoint, library: Any) -> tuple[Any, Any]:
    """Return the configuration and the class of what takes images."""
    plain = dict(_config(checkpoint))
    kind = plain.pop("model_type")
    try:
        config = library.AutoConfig.for_model(kind, **plain)
        tower = next((getattr(config, name) for name in _TOWERS if hasattr(config, name)), None)
        config = config if tower is None else tower
        if getattr(config, "mask_ratio", 0):
            config.mask_ratio = 0.0
        return config, _class_of(library, config, plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotRebuild(
            f"{checkpoint.source} says its model_type is {kind!r}, which transformers "
            f"{library.__version__} does not build ({str(error).splitlines()[0]})."
        ) from error


def _class_of(library: Any, config: Any, plain: Mapping[str, Any]) -> Any:
    """Return the class that config.json names where it gives logits, else the one of features."""
    named = _classifier(plain)
    if named and hasattr(library, named):
        return getattr(library, named)
    return library.AutoModel._model_mapping[type(config)]


def _classifier(config: Mapping[str, Any]) -> str:
    """Return the class that config.json names, where it gives logits; else nothing."""
    named = str(next(iter(config.get("architectures") or []), ""))
    gives = any(f"For{what}Classification" in named for what in ("Image", "Audio"))
    return named if gives else ""


def is_classifier(checkpoint: Checkpoint) -> bool:
    """Whether config.json names a model with logits; no tensor is read."""
    return bool(_classifier(_config(checkpoint)))


@contextmanager
def _quiet(library: Any) -> Any:
    """Keep transformers from printing: what it would say becomes an error or nothing."""
    log = library.utils.logging
    before, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bar:
            log.enable_progress_bar()


def _check(checkpoint: Checkpoint, model: Any, report: Mapping[str, Any]) -> None:
    missing = [k for k in report["missing_keys"] if not any(idle in k for idle in _IDLE)]
    wrong = [str(key) for key in report.get("mismatched_keys", ())]
    if missing or wrong:
        named = ", ".join(sorted(map(str, [*missing, *wrong]))[:_NAMED])
        raise CannotRebuild(
            f"{checkpoint.source} cannot be rebuilt as transformers' {type(model).__name__}: "
            f"missing or of another shape: {named}."
        )


def _preprocessing(checkpoint: Checkpoint) -> Preprocessing | None:
    """Return what the preprocessor file beside the weights says."""
    path = checkpoint.path.parent / "preprocessor_config.json" if checkpoint.path else None
    if path is None or not path.is_file():
        return None
    said = read_object(LocalFile(path))
    size = said.get("size")
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else None
    return Preprocessing(
        tuple(said.get("image_mean", IMAGENET.mean)), tuple(said.get("image_std", IMAGENET.std)),
        "preprocessor_config.json", edge if said.get("do_center_crop") else None,
        _FILTERS.get(said.get("resample", 3), "bicubic"),
    )  # fmt: skip
