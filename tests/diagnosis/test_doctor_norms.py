"""What the doctor finds in norms, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from diagnosis.doctored import codes, pe_of, structured

from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.kinds.position_embedding import LayerNormParams


def norms(depth=4, seed=0, names=("norm1", "norm2")):
    random = np.random.default_rng(seed)
    return [
        LayerNormParams(
            f"blocks.{i}",
            name,
            random.normal(1, 0.1, 8).astype(np.float32),
            random.normal(0, 0.1, 8).astype(np.float32),
            1e-6,
        )
        for i in range(depth)
        for name in names
    ]


def with_norms(given, depth=4):
    return pe_of(structured((5, 7)), (5, 7), norms=given, depth=depth)


def test_trained_norms_are_healthy():
    assert codes(with_norms(norms())) == []


def test_a_norm_that_passes_nothing_is_found():
    given = norms()
    given[2] = replace(given[2], weight=np.zeros(8, np.float32))
    given[5] = replace(given[5], weight=np.array([0, 0, 0, 0, 1, 1, 2, 3], np.float32))
    (finding,) = doctor(with_norms(given)).findings
    assert finding.code == "dead-norm"
    assert finding.where == "blocks.1.norm1, blocks.2.norm2"
    assert finding.evidence["fraction_dead"] == {"blocks.1.norm1": 1.0, "blocks.2.norm2": 0.5}


def test_some_channels_near_zero_are_not_a_dead_norm():
    given = norms()
    given[0] = replace(given[0], weight=np.geomspace(1e-5, 1, 8).astype(np.float32))
    assert codes(with_norms(given)) == []


def fresh(norm):
    return replace(norm, weight=np.ones(8, np.float32), bias=np.zeros(8, np.float32))


def test_one_norm_as_initialised_among_trained_ones_is_named():
    given = norms()
    given[3] = fresh(given[3])
    (finding,) = doctor(with_norms(given)).findings
    assert finding.code == "untrained-norm"
    assert finding.message == "1 of 8 norms are exactly γ = 1, β = 0: blocks.1.norm2."
    assert "did not match" in finding.why


def test_a_model_whose_norms_are_all_as_initialised_was_never_trained():
    (finding,) = doctor(with_norms([fresh(norm) for norm in norms()])).findings
    assert finding.why == "The model was never trained: this is how norms are initialised."


def test_blocks_without_their_norms_are_named():
    given = [norm for norm in norms() if norm.path not in ("blocks.2.norm1", "blocks.3.norm2")]
    (finding,) = doctor(with_norms(given)).findings
    assert (finding.code, finding.severity) == ("missing-norm", "error")
    assert finding.where == "blocks.2.norm1, blocks.3.norm2"


def test_norms_that_a_scheme_never_has_in_some_blocks_are_not_missing():
    given = [*norms(), *norms(names=("pe_norm",))[1:]]
    assert codes(with_norms(given)) == []
    assert codes(with_norms(norms(names=("norm1",)))) == []
