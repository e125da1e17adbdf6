"""Ranges of one URL, into the cache: what is asked for, tried again, and not believed."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ChangedMeanwhile
from pe_inspect.loading.remote.addresses import shown
from pe_inspect.loading.remote.answers import (
    check_range,
    lies,
    own_tag,
    stated_size,
    unquoted,
    whole_number,
)
from pe_inspect.loading.remote.cache import About, CacheEntry, Store
from pe_inspect.loading.remote.http import Answer, Dropped, HungUp, Lines, Refused
from pe_inspect.loading.remote.patience import LEAST_SPEED
from pe_inspect.loading.remote.refusals import may_pass, refusal
from pe_inspect.loading.remote.settings import is_hub, offline_by
from pe_inspect.loading.transfer import Reporter, Transfer

__all__ = ["Fetcher", "NotCached"]

BLOCK: Final = 1 << 16
"""Ranges are asked for in whole blocks: neighbouring tensors come in one request."""
FIRST: Final = 1 << 17
"""The first request: most headers fit."""
LARGEST: Final = 1 << 22
"""Blocks that are read one after the other are asked for in stretches that double up to this."""
LONGEST: Final = 1 << 26
"""One request; what it brought is entered in the journal when it ends."""
SPOOLED: Final = 1 << 24
MOST_FAILURES: Final = 5
MOST_DROPS: Final = 100
WORTH: Final = 1 << 20
"""What an attempt must bring for the next one not to count as one more failure."""
PAUSE: Final = 0.5
DEADLINE: Final = 300.0
"""Seconds until no further attempt is made, and one more for each kilobyte that came."""
LONGEST_PAUSE: Final = 30.0

_EXPIRED: Final = frozenset({400, 401, 403, 404, 410})


def wait(seconds: float) -> None:
    """Sleep; tests do not."""
    time.sleep(seconds)


class NotCached(UnreadableCheckpoint):
    """The network is forbidden, and the cache does not have it."""


class _Unreachable(UnreadableCheckpoint):
    """No answer, however often it was asked."""


@dataclass(frozen=True)
class _Route:
    """Where the last redirect led, and what the host there calls the content."""

    url: str
    identity: str


class Fetcher:
    """The bytes of one URL. `about` and `store` are there once `begin` returned.

    Args:
        url: the file's address.
        what: what messages call it.
        lines: the connections.
        reporter: who is told.
    """

    about: About
    store: Store

    def __init__(self, url: str, what: str, lines: Lines, reporter: Reporter) -> None:
        self.url, self.what = url, what
        self.received = 0
        self.expected: int | None = None
        self._lines, self._reporter = lines, reporter
        self._entry = CacheEntry(url)
        self._route: _Route | None = None
        self._is_begun = False
        self._has_ranges = True
        self._ahead = BLOCK
        self._last_stop = -1

    def begin(self) -> None:
        """Ask the server what the file is now; from the cache where it cannot have changed.

        Raises:
            UnreadableCheckpoint: the server does not give the file, or cannot be reached and
                the cache does not know it.
        """
        known = self._entry.about()
        if known is not None and (offline_by() or _is_pinned(self.url)):
            self._accept(known)
            return
        if offline_by():
            raise NotCached(self._offline("it is not in the cache"))
        try:
            self._insistently(partial(self._transfer, 0, FIRST if known is None else 1))
        except _Unreachable:
            if known is None or not known.identity:
                raise
            self._reporter.note(
                f"{self.what}: the server cannot be reached; what the cache has of it was read",
                file=self.what,
            )
            self._accept(known)

    def ensure_all(self) -> None:
        """See to it that every byte is in the store; the reporter is told how many that will be."""
        self.expected = self.received + self.store.lacking(self.about.size)
        self.ensure(0, self.about.size)

    def ensure(self, start: int, stop: int) -> None:
        """See to it that the bytes of [start, stop) are in the store.

        Raises:
            UnreadableCheckpoint: they cannot be had.
            ChangedMeanwhile: the file is another one by now.
        """
        while gap := self.store.missing(start, min(stop, self.about.size)):
            if offline_by():
                raise NotCached(self._offline(f"bytes {gap[0]} to {gap[1]} are not in the cache"))
            self._insistently(partial(self._fetch, *self._widened(*gap)))

    def _fetch(self, start: int, stop: int) -> None:
        """Ask for what is still missing of a stretch: an attempt before may have brought some."""
        gap = self.store.missing(start, stop)
        if gap is not None:
            self._transfer(*gap)

    def _offline(self, lack: str) -> str:
        return (
            f"{self.what}: {lack}, and {offline_by()} forbids the network. "
            "Unset it, or give a file."
        )

    def _widened(self, start: int, stop: int) -> tuple[int, int]:
        """Widen a gap to whole blocks; further ahead where it goes on from the last one."""
        begin = start // BLOCK * BLOCK
        self._ahead = min(2 * self._ahead, LARGEST) if begin == self._last_stop else BLOCK
        end = min(max(begin + self._ahead, -(-stop // BLOCK) * BLOCK), begin + LONGEST)
        self._last_stop = end
        return self.store.missing(begin, min(end, self.about.size)) or (start, stop)

    def _insistently(self, attempt: Callable[[], None]) -> None:
        """Try until it works; give up after five failures in a row that brought nothing."""
        failures, start, first = 0, time.monotonic(), self.received
        for _ in range(MOST_DROPS):
            before = self.received
            if time.monotonic() - start > DEADLINE + (before - first) / LEAST_SPEED:
                break
            try:
                attempt()
                return
            except (Dropped, Refused) as error:
                is_worth = self._has_ranges and self.received - before >= WORTH
                failures = 1 if is_worth else failures + 1
                self._judge(error, failures)
        raise _Unreachable(
            f"{self.what}: the line is dropped again and again. What has arrived is kept: the same "
            "command goes on from there. Try again later."
        )

    def _judge(self, error: Dropped | Refused, failures: int) -> None:
        """Return after a pause if it is worth another try, else raise what is to be said."""
        if isinstance(error, Refused):
            if self._route is not None and error.status in _EXPIRED:
                self._route = None  # a signed address that has expired: ask the first one again
            elif not may_pass(error):
                raise refusal(error, self.what) from error
            if failures >= MOST_FAILURES:
                raise refusal(error, self.what) from error
            wait(_pause(error, failures, self.what))
            return
        if failures >= MOST_FAILURES or isinstance(error, HungUp):
            host = urlsplit(self.url).hostname
            raise _Unreachable(
                f"{self.what}: {host} cannot be reached, or drops the line ({error}). What has "
                "arrived is kept: the same command goes on from there. Or give a file."
            ) from error
        wait(PAUSE * 2 ** (failures - 2) if failures > 1 else 0.0)

    def _transfer(self, start: int, stop: int) -> None:
        """One request: [start, stop), or what the server gives instead."""
        with self._lines.get(self._route.url if self._route else self.url, start, stop) as answer:
            size = stated_size(answer, self.what)
            if size is None:
                self._receive_unmeasured(answer)
                return
            self._settle(answer, size)
            if answer.status == 416 or self.store.missing(start, min(stop, size)) is None:
                self._refuse_hole(answer, start, size)
            elif answer.status == 206:
                check_range(answer, start, min(stop, size), self.what)
                self._receive(answer.blocks(min(stop, size) - start), start)
            else:
                self._receive_whole(answer, size)

    def _refuse_hole(self, answer: Answer, start: int, size: int) -> None:
        if answer.status == 416 and start < size:
            raise lies(self.what, f"it says {size} bytes, and refuses byte {start}")

    def _receive(self, blocks: Iterator[bytes], start: int) -> None:
        with self.store.writing(start) as write:
            for block in blocks:
                write(block)
                self.received += len(block)
                self._reporter.tell(Transfer(self.what, self.received, self.expected))

    def _receive_whole(self, answer: Answer, size: int) -> None:
        """The server has no ranges: take everything, and say so where that is much."""
        self._has_ranges = False
        if size > FIRST:
            self.expected = self.received + size
            self._reporter.note(
                f"{self.what}: the server gives whole files only; all {size:,} bytes of it were "
                "downloaded",
                file=self.what,
            )
        self._receive(answer.blocks(size), 0)

    def _receive_unmeasured(self, answer: Answer) -> None:
        """No length is stated: it is known when the body has ended."""
        self._has_ranges = False
        with tempfile.SpooledTemporaryFile(max_size=SPOOLED) as spool:
            for block in answer.blocks(None):
                spool.write(block)
            self._settle(answer, spool.tell())
            spool.seek(0)
            self._receive(iter(partial(spool.read, BLOCK), b""), 0)

    def _settle(self, answer: Answer, size: int) -> None:
        """Compare with what is known of the file; the first answer of a run says what it is.

        Raises:
            ChangedMeanwhile: the file is another one by now.
        """
        if not self._is_begun:
            self._accept(self._described(answer, size))
        elif size != self.about.size or self._is_other(answer):
            raise ChangedMeanwhile(
                f"{self.what} changed on the server while it was being read. Run the command again."
            )
        if answer.url != self.url and self._route is None:
            self._route = _Route(answer.url, own_tag(answer))

    def _is_other(self, answer: Answer) -> bool:
        if answer.status == 416:  # says nothing of the content
            return False
        if self._route is not None and answer.url == self._route.url:
            return own_tag(answer) != self._route.identity
        return self._described(answer, self.about.size).identity != self.about.identity

    def _described(self, answer: Answer, size: int) -> About:
        """Return what the answer says of the file; only the hub is believed about hashes.

        Raises:
            UnreadableCheckpoint: the hub and the server that it names contradict each other.
        """
        by_hub = is_hub(self.url)
        linked = unquoted(answer.first("X-Linked-Etag")) if by_hub else ""
        stated = whole_number(answer.first("X-Linked-Size")) if linked else None
        if stated is not None and stated != size:
            raise lies(self.what, f"the hub says {stated} bytes, the host that it names {size}")
        sha256 = linked if re.fullmatch(r"[0-9a-f]{64}", linked) else ""
        commit = answer.first("X-Repo-Commit") if by_hub else ""
        return About(shown(self.url), linked or own_tag(answer), size, sha256, commit)

    def _accept(self, about: About) -> None:
        known = self._entry.about()
        is_same = known == about and bool(about.identity)
        self.about = about
        self.store = self._entry.store(about) if is_same else self._entry.adopt(about)
        self._is_begun = True


def _is_pinned(url: str) -> bool:
    """Whether the hub's address names a commit: its content never changes."""
    return is_hub(url) and re.search(r"/resolve/[0-9a-f]{40}/", url) is not None


def _pause(refused: Refused, failures: int, what: str) -> float:
    """Return how long the server wants us to wait, or how long seems right.

    Raises:
        UnreadableCheckpoint: it wants us to wait longer than a person would.
    """
    asked = whole_number(refused.headers.get("Retry-After", ""))
    if asked is None:
        return PAUSE * 2.0**failures
    if asked > LONGEST_PAUSE:
        raise refusal(refused, what) from refused
    return float(asked)
