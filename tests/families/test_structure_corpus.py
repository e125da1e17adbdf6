"""The shared half of the corpus of layouts in the wild, read in this process: `score.py` judges."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pe_inspect as pei
from pe_inspect.commands.shell.describe import as_json
from pe_inspect.errors import PEInspectError
from pe_inspect.families import extract

WILD = Path(__file__).parents[2].parent / "shared" / "data" / "wild"

pytestmark = pytest.mark.skipif(not WILD.exists(), reason="the corpus is not beside the checkout")

OPEN = frozenset({"microsoft__Florence-2__base"})
"""Its truth names two tables, and the file holds a third: of frames, a sine table."""


def _scorer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wild_score", WILD / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _verdict(
    scorer: ModuleType, line: dict[str, Any], values: dict[str, Any], folder: Path
) -> dict[str, Any]:
    path = scorer.write(line, scorer.make(line, values), folder)
    found, code, said = (), 0, ""
    try:
        found = extract(pei.load(str(path)), with_sha256=False)
    except PEInspectError as error:
        code, said = error.exit_code, str(error)
    scorer.depths = lambda _: [(pe.depth or len(pe.layer_names), pe) for pe in found]
    scorer.info = lambda *_: (code, None, said)
    notes = [note for pe in found for note in pe.notes]
    answer = {"embeddings": [as_json(pe) for pe in found], "notes": notes} if found else None
    return dict(scorer.judge(line, code, answer, said, path))


@pytest.mark.parametrize("half", ["image", "other"])
def test_the_corpus_is_read(half, tmp_path):
    scorer = _scorer()
    values = dict(np.load(WILD / f"{half}_values.npz"))
    lines = [json.loads(text) for text in (WILD / f"{half}.jsonl").read_text().splitlines()]
    verdicts = {line["id"]: _verdict(scorer, line, values, tmp_path) for line in lines}
    wrong = {
        name: (v["verdict"], v["fields"])
        for name, v in verdicts.items()
        if v["verdict"] in ("wrong", "crash", "refused") and name not in OPEN
    }
    assert not wrong
