"""Weight files that lie elsewhere: a name or a URL becomes a place whose bytes come on demand.

_names     what `timm:NAME`, `hf-hub:ORG/NAME` and URLs stand for
_places    the two places: a file behind a URL, and the folder that it lies in
_fetching  ranges into the cache: retries, resuming, and what a server may not do
_downloads all of a file, for those who copy it
_cache     sparse files, keyed by URL and by what the server says identifies the content
_http      requests, redirects, the token; _refusals says what a status means
_settings  the environment: endpoint, token, offline, cache folder

Only the standard library is used: a command that reads headers must not cost a second of imports.
"""

from __future__ import annotations

from pe_inspect.loading.remote.downloads import downloaded
from pe_inspect.loading.remote.names import Named, open_named

__all__ = ["Named", "downloaded", "open_named"]
