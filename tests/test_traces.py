"""The second container: frozen, and exact when saved and reopened."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass

import numpy as np
import pytest
from made_traces import made_trace
from safetensors.numpy import save_file

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.traces import Trace


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif is_dataclass(one):
        for each in fields(one):
            assert_same(getattr(one, each.name), getattr(other, each.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_same(*pair)
    else:
        assert one == other


def test_a_saved_trace_reopens_bit_for_bit(tmp_path):
    trace = made_trace()
    path = trace.save(tmp_path / "model.trace.safetensors")
    assert_same(Trace.open(path), trace)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    one, other = (made_trace().save(tmp_path / name) for name in ("a.trace", "b.trace"))
    assert one.read_bytes() == other.read_bytes()


def test_arrays_are_read_only_and_fields_frozen():
    trace = made_trace()
    with pytest.raises(ValueError, match="read-only"):
        trace.states["base"][0].mean[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        trace.source = "another"


def test_the_patches_of_a_place_are_what_follows_its_prefix_tokens():
    place = made_trace().states["base"][0]
    assert place.patches.shape == (12, 4)
    np.testing.assert_array_equal(place.patches, place.mean[1:])


def test_it_says_which_runs_it_holds():
    trace = made_trace()
    assert trace.runs == ("base", "null", "zero", "mean_colour")
    assert trace.places == ("h0", "h1", "final")
    assert repr(trace) == (
        "Trace(made.safetensors, 5 images, 3×4 patches, 1 blocks, runs: base, null, zero, "
        "mean_colour)"
    )


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, path)
    with pytest.raises(UnreadableCheckpoint, match=r"is not a saved trace.*Make one with"):
        Trace.open(path)
    (tmp_path / "cut").write_bytes(made_trace().save(tmp_path / "whole").read_bytes()[:300])
    with pytest.raises(UnreadableCheckpoint, match="is not a saved trace"):
        Trace.open(tmp_path / "cut")
    with pytest.raises(UnreadableCheckpoint, match="is not a saved trace"):
        Trace.open(tmp_path / "absent")


def test_an_older_version_is_refused_plainly(tmp_path):
    path = tmp_path / "old.trace.safetensors"
    header = {"pe_inspect_trace": json.dumps({"version": 0, "trace": {}})}
    save_file({"a": np.zeros(2, np.float32)}, path, metadata=header)
    with pytest.raises(UnreadableCheckpoint, match=r"format 0, and this release reads format 1"):
        Trace.open(path)
