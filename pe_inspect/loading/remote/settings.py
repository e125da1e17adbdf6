"""What the environment says, under the names that the Hugging Face libraries gave it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pe_inspect.errors import UsageError
from pe_inspect.loading.remote.addresses import requestable

__all__ = [
    "cache_folder",
    "endpoint",
    "hub_snapshots",
    "is_hub",
    "offline_by",
    "origin",
    "timeout",
    "token_for",
]

HUB: Final = "https://huggingface.co"
SECONDS: Final = 30.0
_TRUE: Final = ("1", "ON", "YES", "TRUE")
_PORTS: Final = {"http": 80, "https": 443}


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT, else the public one.

    Raises:
        UsageError: HF_ENDPOINT is no address.
    """
    given = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB
    try:
        is_address = requestable(given) == given and given.startswith(("https://", "http://"))
    except ValueError:
        is_address = False
    if not is_address:
        raise UsageError(f"HF_ENDPOINT is {given!r}; expected an address such as {HUB}.")
    return given


def offline_by() -> str:
    """Return the name of the variable that forbids the network; empty where none does."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((n for n in names if os.environ.get(n, "").strip().upper() in _TRUE), "")


def cache_folder() -> Path:
    """Return PE_INSPECT_CACHE, else `pe-inspect` in the user's folder for caches."""
    given = os.environ.get("PE_INSPECT_CACHE", "").strip()
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "pe-inspect"


def hub_snapshots() -> Path:
    """Return the folder where the Hugging Face libraries keep what they downloaded."""
    given = os.environ.get("HF_HUB_CACHE", "").strip()
    if given:
        return Path(given).expanduser()
    home = os.environ.get("HF_HOME", "").strip()
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    parent = Path(base) if base else Path.home() / ".cache"
    return (Path(home).expanduser() if home else parent / "huggingface") / "hub"


def timeout() -> float:
    """Return how long a server may be silent, in seconds: HF_HUB_DOWNLOAD_TIMEOUT, else 30."""
    given = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").strip()
    is_number = re.fullmatch(r"\d{1,6}(\.\d+)?", given) is not None
    return float(given) if is_number and float(given) > 0 else SECONDS


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def is_hub(url: str) -> bool:
    """Whether the hub answers for this URL, or the mirror that HF_ENDPOINT names."""
    return origin(url) in (origin(HUB), origin(endpoint()))


def token_for(url: str) -> str:
    """Return HF_TOKEN if `url` is the hub's own, else nothing: no other host may see it.

    Raises:
        UsageError: HF_TOKEN holds what no header can carry. The message does not repeat it.
    """
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token or origin(url) != origin(endpoint()):
        return ""
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise UsageError("HF_TOKEN holds spaces or signs that no token has; set it again.")
    return token
