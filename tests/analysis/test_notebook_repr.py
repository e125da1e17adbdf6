"""Results in a notebook: numbers and notes as escaped HTML, and nothing drawn or imported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.evolution import evolution
from pe_inspect.diagnosis.doctor import doctor

ROOT = Path(__file__).parents[2]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


@dataclass
class Result(Shown):
    question: ClassVar[str] = "similarity"
    notes: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)

    def summary(self):
        return self.numbers


def test_every_result_shows_its_summary_and_its_notes(vectors):
    pe = vectors()
    asked = {
        "similarity": questions["similarity"](pe),
        "layernorm": questions["layernorm"](pe),
        "interpolate": questions["interpolate"](pe, grid=(4, 6)),
        "doctor": doctor(pe),
        "evolution": evolution([pe, vectors(seed=4)]),
    }
    for word, result in asked.items():
        shown = read(result._repr_html_())
        assert shown.text.startswith(word)
        assert all(name in shown.text for name in result.summary())
        assert all(note in shown.text for note in result.notes)
        assert ("pe_inspect.figure(result)" in shown.text) == (word != "doctor")


def test_the_doctors_findings_are_named(vectors, table_of):
    result = doctor(table_of([[1.0] * 4] * 12, (3, 4)))
    assert result.findings
    shown = read(result._repr_html_())
    assert all(finding.message in shown.text for finding in result.findings)


def test_numbers_are_short_and_what_is_missing_is_a_dash():
    numbers = {"count": 12345.0, "part": 0.123456, "none": float("nan")}
    assert "count12,345part0.1235none–" in read(Result(numbers=numbers)._repr_html_()).text


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "'\"><img src=x>", "\u202e\x00"])
def test_hostile_texts_are_shown_as_text(text):
    plain, hostile = (
        read(Result(notes=(note,), numbers={note: 1.0})._repr_html_()) for note in ("plain", text)
    )
    assert hostile.tags == plain.tags
    assert "\u202e" not in hostile.text


def test_many_notes_are_counted():
    notes = tuple(f"note {k}" for k in range(11))
    shown = Result(notes=notes)._repr_html_()
    assert "<li>note 7</li>" in shown
    assert "<li>note 8</li>" not in shown
    assert "… and 3 more" in shown


@pytest.mark.subprocess
def test_showing_a_result_draws_nothing():
    code = (
        "import sys, numpy as np\n"
        "from pe_inspect.analysis.similarity import similarity\n"
        "from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding\n"
        "table = LayerPE('input', np.eye(12, dtype=np.float32), (3, 4))\n"
        "pe = PositionEmbedding('a', 'vectors', 'input', (table,))\n"
        "similarity(pe)._repr_html_()\n"
        "print([name for name in ('matplotlib', 'pandas', 'IPython') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
