"""Grids of images, of videos, and of tables that no file tells the grid of."""

import numpy as np
import pytest

from pe_inspect.analysis.evolution import evolution
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.layernorm import layernorm
from pe_inspect.analysis.similarity import similarity
from pe_inspect.commands.shell.describe import as_json
from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.errors import UndecidedGrid, UsageError
from pe_inspect.kinds.parts import LayerNormParams, LayerPE, checked_grid
from pe_inspect.kinds.position_embedding import PositionEmbedding

QUESTIONS = {
    "similarity": similarity,
    "layernorm": layernorm,
    "interpolate": lambda pe: interpolate(pe, grid=(5, 6)),
    "evolution": lambda pe: evolution([pe, pe]),
    "doctor": doctor,
}


def embedding(grid_size, rows=24):
    values = np.random.default_rng(0).normal(size=(1 + rows, 8))
    norm = LayerNormParams("blocks.0", "norm1", np.ones(8), np.zeros(8), 1e-6)
    table = LayerPE("input", values, grid_size, num_prefix_rows=1)
    return PositionEmbedding("learned_absolute", "vectors", "input", (table,), (norm,), depth=1)


@pytest.mark.parametrize(
    ("grid_size", "words"), [((2, 3, 4), "2×3×4"), (None, "unknown grid"), ((4, 6), "4×6")]
)
def test_a_grid_is_saved_opened_and_printed(tmp_path, grid_size, words):
    pe = embedding(grid_size)

    opened = PositionEmbedding.open(pe.save(tmp_path / "x.pe.safetensors"))

    assert opened.grid_size == grid_size
    assert opened.headline.startswith(f"learned_absolute · {words} + 1 prefix · D=8")
    assert opened.tables[0].num_patches == 24
    assert as_json(opened)["grid_size"] == (None if grid_size is None else list(grid_size))


def test_layers_may_differ_in_grid_heads_and_width():
    tables = (
        LayerPE("levels.0", np.zeros((2, 12, 12)), (3, 4)),
        LayerPE("levels.1", np.zeros((4, 24, 24)), (2, 3, 4)),
    )
    pe = PositionEmbedding("relative_bias", "bias", "layer", tables)

    assert "3×4, 2×3×4 · 2, 4 heads" in pe.headline


def test_an_evolution_refuses_a_grid_with_frames():
    with pytest.raises(UsageError, match=r"^evolution of a T×H×W grid is not done yet.*2×3×4"):
        QUESTIONS["evolution"](embedding((2, 3, 4)))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_refuses_a_grid_that_is_not_known(question):
    with pytest.raises(UndecidedGrid, match=rf"^{question}: nothing .* Pass --grid-size HxW"):
        QUESTIONS[question](embedding(None))


def test_a_table_must_have_the_rows_of_all_frames():
    with pytest.raises(ValueError, match=r"vectors of a 2×3×4 grid with 1 prefix rows .* \(25,"):
        embedding((2, 3, 4), rows=12)


@pytest.mark.parametrize("grid_size", [(4,), (1, 2, 3, 4), (0, 3), (2, 0, 3)])
def test_other_grids_are_refused(grid_size):
    with pytest.raises(ValueError, match="grid_size is"):
        checked_grid(grid_size)
