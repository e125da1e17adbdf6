"""JSON of files is parsed at one door, and nothing else parses it."""

from __future__ import annotations

import re
from pathlib import Path

import pe_inspect

ROOT = Path(pe_inspect.__file__).parent
ELSEWHERE = re.compile(r"\bjson\.loads?\(|\bast\.literal_eval\(|\beval\(")
DOORS = {"bounded.py", "loading/formats/npy.py", "training/facts.py"}


def test_a_strangers_text_is_parsed_at_one_door():
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if ELSEWHERE.search(re.sub(r"\.eval\(", "", path.read_text(encoding="utf-8")))
    }
    assert found == DOORS
