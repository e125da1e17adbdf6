"""What to say of a file or folder that is of no checkpoint format: what it is, and the way out.

kinds       a kind of file: how its first bytes show it, what it is, what to do
texts       files of text: pages, pointers, descriptions
binaries    files with a magic of their own
messages    protocol buffers, which have none: the fields that they begin with tell
archives    archives, by what lies in them
folders     folders, by their files
"""

from __future__ import annotations

from pe_inspect.loading.foreign.kinds import EXPECTED, EXPORT, UnknownFile

__all__ = ["what_it_is"]


def what_it_is(file: UnknownFile) -> str:
    """Return one line: what the file is, what was expected, and what to do."""
    from pe_inspect.loading.foreign.archives import ARCHIVES
    from pe_inspect.loading.foreign.binaries import BINARIES
    from pe_inspect.loading.foreign.messages import MESSAGES
    from pe_inspect.loading.foreign.texts import TEXTS

    for kind in (*TEXTS, *ARCHIVES, *BINARIES, *MESSAGES):
        if kind.recognises(file):
            what = kind.what if isinstance(kind.what, str) else kind.what(file)
            return f"{file} {what}. {EXPECTED}: {kind.remedy}."
    return f"{file} is of no kind that pe-inspect knows. {EXPECTED}: {EXPORT}."
