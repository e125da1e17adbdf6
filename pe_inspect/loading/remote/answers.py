"""What an answer says of a file: its size, its identity; and answers that contradict themselves."""

from __future__ import annotations

import re

from pe_inspect.errors import UnreadableCheckpoint, printable
from pe_inspect.loading.remote.http import Answer

__all__ = ["check_range", "lies", "own_tag", "stated_size", "unquoted", "whole_number"]


def stated_size(answer: Answer, what: str) -> int | None:
    """Return the whole file's size; `None` where all of it comes and nothing says how much.

    Raises:
        UnreadableCheckpoint: a part comes, and nothing says of what.
    """
    if answer.status == 200:
        return whole_number(answer.headers.get("Content-Length", ""))
    total = re.fullmatch(r"bytes .*/([0-9]{1,18})", answer.headers.get("Content-Range", ""))
    if total is None:
        raise lies(what, "it sends a part and does not say of how many bytes")
    return int(total[1])


def check_range(answer: Answer, start: int, stop: int, what: str) -> None:
    """Refuse a part that is not the one that was asked for.

    Raises:
        UnreadableCheckpoint: it is another one, or its two lengths differ.
    """
    said = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/[0-9]+", said)
    if found is None or (int(found[1]), int(found[2]) + 1) != (start, stop):
        raise lies(what, f"asked for bytes {start}-{stop - 1}, it sends {printable(said)!r}")
    length = whole_number(answer.headers.get("Content-Length", ""))
    if length is not None and length != stop - start:
        raise lies(what, f"it says {printable(said)!r} and sends {length} bytes")


def own_tag(answer: Answer) -> str:
    """Return what the last host calls the content: its ETag, else when it was last modified."""
    tag = unquoted(answer.headers.get("ETag", ""))
    return tag or answer.headers.get("Last-Modified", "").strip()


def unquoted(tag: str) -> str:
    """Return an ETag without quotes, and without the mark of a weak one."""
    return tag.strip().removeprefix("W/").strip('"')


def whole_number(text: str) -> int | None:
    """Return a header's number; `None` where it is none, or none of this world."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def lies(what: str, how: str) -> UnreadableCheckpoint:
    """The error for a server whose words contradict each other."""
    return UnreadableCheckpoint(
        f"{what}: the server contradicts itself: {how}. "
        "Download the file in another way, and give that."
    )
