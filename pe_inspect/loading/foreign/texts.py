"""Files of text that stand where weights are expected."""

from __future__ import annotations

from typing import Final

from pe_inspect.loading.foreign.kinds import AGAIN, WEIGHTS, Kind, UnknownFile, matches, starts

__all__ = ["TEXTS"]


def _is_index(file: UnknownFile) -> bool:
    return b'"weight_map"' in file.head


TEXTS: Final = (
    Kind(lambda file: not file.head, "is empty", AGAIN),
    Kind(
        starts(b"version https://git-lfs"),
        "is a Git LFS pointer, not the weights",
        "run `git lfs pull` in its repository",
    ),
    Kind(
        matches(rb"\.{0,2}/?[\w./]*\.?git/annex/objects/|/annex/objects/"),
        "is a git-annex pointer, not the weights",
        "run `git annex get` on it in its repository",
    ),
    Kind(
        starts(b"# xet version"),
        "is a Xet pointer, not the weights",
        "install git-xet and check its repository out again, or download the file",
    ),
    Kind(
        matches(rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<net\s[^>]*version="),
        "is the graph of an OpenVINO model, whose numbers lie in the .bin beside it without names",
        "give the ONNX file or the PyTorch checkpoint that it was converted from",
    ),
    Kind(
        matches(rb"(?:<\?xml[^>]*>\s*)?<(?:PMML|pmml)"),
        "is a PMML document, not weights",
        WEIGHTS,
    ),
    Kind(
        matches(rb"(?:<\?xml[^>]*>\s*)?<Error>"),
        "is a storage server's refusal, saved as a file",
        "the link has expired or needs a log-in; download the weights again",
    ),
    Kind(
        matches(rb"<(!doctype html|html|head|\?xml[^>]*>\s*<(!doctype html|html))"),
        "is a web page",
        "the link needs a log-in or is wrong; download the weights again",
    ),
    Kind(matches(rb"<(\?xml|!doctype|svg)"), "is an XML document, not weights", WEIGHTS),
    Kind(
        matches(rb"model_checkpoint_path:"),
        "is the note in which TensorFlow keeps the name of its newest checkpoint",
        "read that checkpoint with tensorflow.train.load_checkpoint(DIR), and numpy.savez its "
        "variables under their names",
    ),
    Kind(
        lambda file: matches(rb"[\[{]")(file) and _is_index(file),
        "is the index of a sharded checkpoint",
        "give the folder that holds it and its shards",
    ),
    Kind(
        matches(rb"[\[{]"),
        "is JSON, not weights",
        "give the weight file that it describes, or the folder with both",
    ),
    Kind(
        matches(rb"7767517\r?\n"),
        "is the graph of an ncnn model, whose numbers lie in the .bin beside it without names",
        "give the checkpoint that it was converted from",
    ),
)
