"""From a name to a place: `timm:NAME`, `hf-hub:ORG/NAME[@rev]`, or the URL of a weight file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pe_inspect.errors import UnreadableCheckpoint, UsageError
from pe_inspect.loading.byte_source import ByteSource, Folder, LocalFile, LocalFolder
from pe_inspect.loading.checkpoint import Hints
from pe_inspect.loading.remote.addresses import requestable, shown
from pe_inspect.loading.remote.http import Lines
from pe_inspect.loading.remote.places import HubFolder, WebFolder
from pe_inspect.loading.remote.settings import hub_snapshots, is_hub, offline_by
from pe_inspect.loading.transfer import Reporter
from pe_inspect.registry import did_you_mean

__all__ = ["Named", "open_named"]

_PART: Final = r"(?!\.\.?(?:[/@]|$))[\w.-]+"  # of a path, which leads nowhere else
REPOSITORY: Final = re.compile(
    rf"(?P<repo>{_PART}?/{_PART}?)(?:@(?P<revision>{_PART}(?:/{_PART})*))?"
)
HUB_PAGE: Final = re.compile(
    rf"/(?P<repo>{_PART}/{_PART})(?:/tree/(?P<revision>(?:%|{_PART})+(?:/(?:%|{_PART})+)*))?/?"
)


@dataclass(frozen=True)
class Named:
    """What a name stands for.

    Attributes:
        place: the file or folder.
        shown: what the checkpoint's source is called.
        hints: what the name says of the model.
    """

    place: ByteSource | Folder
    shown: str
    hints: Hints = field(default_factory=Hints)


def open_named(name: str, reporter: Reporter) -> Named:
    """Return the place that a name or URL stands for.

    Raises:
        UsageError: it is not of the form that its start promises, or timm has no such name.
        UnreadableCheckpoint: it cannot be had.
    """
    kind, _, rest = name.partition(":")
    opener = _OPENERS[kind.lower().replace("_", "-")]
    return opener(name, rest, reporter)


def _open_hub(name: str, rest: str, reporter: Reporter) -> Named:
    found = REPOSITORY.fullmatch(rest)
    if found is None:
        raise UsageError(
            f"{name!r} names no repository; expected hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION."
        )
    return Named(_repository(found, name, reporter), name)


def _repository(found: re.Match[str], name: str, reporter: Reporter) -> Folder:
    repo, revision = found["repo"], found["revision"] or "main"
    snapshot = _snapshot(repo, revision) if offline_by() else None
    if snapshot is not None:
        reporter.note(f"{name}: {offline_by()} is set; read from {snapshot}")
        return LocalFolder(snapshot)
    return HubFolder(repo, revision, name, Lines(), reporter)


def _snapshot(repo: str, revision: str) -> Path | None:
    """Return the folder where a Hugging Face library keeps this revision, if one does."""
    root = hub_snapshots() / f"models--{repo.replace('/', '--')}"
    reference = root / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = root / "snapshots" / commit
    return folder if re.fullmatch(r"[0-9a-f]{40}", commit) and folder.is_dir() else None


def _open_url(name: str, _: str, reporter: Reporter) -> Named:
    url = _requestable(name)
    page = HUB_PAGE.fullmatch(urlsplit(url).path) if is_hub(url) else None
    if page is not None:
        return Named(_repository(page, shown(url), reporter), shown(url))
    if is_hub(url):  # what a browser shows of a file is a page about it
        url = url.replace("/blob/", "/resolve/", 1)
    folder = WebFolder(url.partition("?")[0].rpartition("/")[0] + "/", Lines(), reporter)
    return Named(folder.file(url), shown(url))


def _requestable(url: str) -> str:
    """Return the URL without its fragment, and with signs that a request cannot carry quoted.

    Raises:
        UsageError: it names no host, or a port that there is not.
    """
    try:
        return requestable(url)
    except ValueError as error:
        said = f"{shown_or_cut(url)} is no URL; expected https://HOST/…/FILE."
        raise UsageError(said) from error


def shown_or_cut(url: str) -> str:
    """Return a URL that may be none, without what might be a secret."""
    return url.partition("?")[0].rpartition("@")[2][:120]


def _open_timm(name: str, rest: str, reporter: Reporter) -> Named:
    """Ask timm where the weights of a model lie: on the hub, behind a URL, or on this machine.

    Raises:
        UsageError: timm has no such model, or no weights for it.
    """
    said = _pretrained(rest)
    hints = Hints(arch=said.architecture, origins={"arch": name})
    if said.file:
        return Named(LocalFile(Path(said.file)), name, hints)
    if said.hf_hub_id:
        found = REPOSITORY.fullmatch(said.hf_hub_id)
        if found is None:
            raise UnreadableCheckpoint(f"{name}: timm names {said.hf_hub_id!r}, no repository.")
        reporter.note(f"{name} is hf-hub:{said.hf_hub_id}")
        return Named(_repository(found, name, reporter), name, hints)
    if said.url:
        reporter.note(f"{name} is {shown(said.url)}")
        return Named(_open_url(said.url, "", reporter).place, name, hints)
    raise UsageError(
        f"timm has the architecture {rest}, and no weights under this name. "
        f"With weights: {', '.join(_with_weights(rest)) or 'none'}."
    )


def _pretrained(model: str) -> Any:
    import timm
    from timm.models import get_pretrained_cfg

    try:
        said = get_pretrained_cfg(model, allow_unregistered=False)
    except (RuntimeError, ValueError, KeyError):
        said = None
    if said is None and not model:
        raise UsageError(
            "timm: names no model; expected timm:NAME, as in timm:deit_tiny_patch16_224."
        )
    if said is None:
        known = [*timm.list_models(), *timm.list_models(pretrained=True)]
        raise UsageError(did_you_mean("timm model", model, known))
    return said


def _with_weights(model: str) -> list[str]:
    import timm

    return [f"timm:{n}" for n in timm.list_models(f"{model.partition('.')[0]}.*", pretrained=True)]


_OPENERS: Final[dict[str, Callable[[str, str, Reporter], Named]]] = {
    "timm": _open_timm,
    "hf-hub": _open_hub,
    "http": _open_url,
    "https": _open_url,
}
