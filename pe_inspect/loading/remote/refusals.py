"""What a server's refusal means, and what to do about it, in plain lines."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.remote.http import Refused
from pe_inspect.loading.remote.settings import endpoint, is_hub, token_for

__all__ = ["Absent", "Closed", "may_pass", "refusal"]

_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_ABSENT: Final = frozenset({404, 410})


class Closed(UnreadableCheckpoint):
    """The server is there, and does not give this file."""


class Absent(Closed):
    """It has no such file."""


def may_pass(refused: Refused) -> bool:
    """Whether the same request may be answered a moment later."""
    return refused.status in _PASSING


def refusal(refused: Refused, what: str) -> UnreadableCheckpoint:
    """Return the error that says what the server meant.

    Args:
        refused: its answer.
        what: what messages call the file.
    """
    status, code = refused.status, refused.headers.get("X-Error-Code", "")
    if code == "RevisionNotFound":
        return UnreadableCheckpoint(
            f"{what}: the repository has no such revision ({status}). Check what follows the @."
        )
    if status in _ABSENT and code != "RepoNotFound":
        return Absent(f"{what}: there is no such file ({status}). Check the name.")
    host = urlsplit(refused.url).hostname or "the server"
    if code == "RepoNotFound" or status in (401, 403):
        is_ours = is_hub(refused.url)
        return Closed(_closed(refused, code, what) if is_ours else _no_entry(status, what, host))
    if status == 429:
        return UnreadableCheckpoint(_too_many(refused, what, host))
    return UnreadableCheckpoint(
        f"{what}: {host} answers with status {status}. Try again later, or give a file."
    )


def _too_many(refused: Refused, what: str, host: str) -> str:
    is_anonymous = is_hub(refused.url) and not token_for(refused.url)
    more = ", or set HF_TOKEN: it allows more to those who log in" if is_anonymous else ""
    return f"{what}: {host} asks for fewer requests (429). Wait a few minutes{more}."


def _no_entry(status: int, what: str, host: str) -> str:
    return (
        f"{what}: {host} does not give this file to everybody ({status}). "
        "Check the address, or download the file in a browser and give that."
    )


def _closed(refused: Refused, code: str, what: str) -> str:
    """The hub hides what one may not see: a private repository looks like one that is not there."""
    hub, status = endpoint(), refused.status
    if code == "GatedRepo":
        need = "its owners let nobody in without asking"
        step = f"Accept its conditions on {hub}, then set HF_TOKEN to a token of that account"
    else:
        need = "there is no such repository, or it is private"
        step = "Check the name; for a private one set HF_TOKEN to a token that may read it"
    if token_for(refused.url):
        step += "; the token that is set now is not enough"
    return f"{what}: {need} ({status}).\n{step} ({hub}/settings/tokens makes one)."
