"""Small files that once cost gigabytes, minutes or a traceback: each ends in a plain line, soon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.corpus import CORPUS, write_corpus

MEGABYTES, SECONDS = 300, 10
HERE = Path(__file__).parent
CODES = {0, 3, 4, 5, 6}
REFUSED = ("wrong_", "rows_", "depth_", "nested", "many_axes", "legacy", "bzip2", "lzma", "bomb")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What `info` and `doctor` did with every file, in one process whose memory is bounded."""
    paths = write_corpus(tmp_path_factory.mktemp("corpus"))
    words = [sys.executable, str(HERE / "ask.py"), "1500", "60", *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
    return {line["file"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.subprocess
@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_ends_in_a_plain_line_within_memory_and_time(name, told):
    answer = told[name]
    assert {answer["info"], answer["doctor"]} <= CODES, answer
    assert answer["megabytes"] <= MEGABYTES, answer
    assert answer["seconds"] <= SECONDS, answer
    assert "Traceback" not in answer["message"]
    if name.startswith(REFUSED):
        assert answer["info"] == 3
        assert len(answer["message"].splitlines()) <= 3
        assert len(answer["message"]) < 1000
