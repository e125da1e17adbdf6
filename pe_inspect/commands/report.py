"""`pe-inspect report`: one self-contained page about one or several checkpoints, or an index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pe_inspect.checkpoint_files import checkpoint_name
from pe_inspect.commands.shell import ANSWERS, command
from pe_inspect.commands.shell.describe import command_line, now
from pe_inspect.commands.shell.opening import open_subject
from pe_inspect.commands.shell.options import (
    Asked,
    Opening,
    Output,
    Reading,
    Resize,
    Selection,
    Source,
    Terminal,
)
from pe_inspect.commands.shell.progress import counted
from pe_inspect.commands.shell.progress_bar import progress_bar
from pe_inspect.commands.shell.question_runner import (
    CommandRun,
    Question,
    Target,
    carry_out,
    nothing,
    output_folder,
)
from pe_inspect.commands.shell.report_options import (
    Checkpoints,
    LiveAsked,
    PageLook,
    options_of_questions,
)
from pe_inspect.commands.shell.report_text import (
    PageTeller,
    index_line,
    pages_object,
    target_of,
    write_page,
)
from pe_inspect.commands.shell.terminal import note
from pe_inspect.front.snapshots import gallery_in

PAGE: Final = "report.html"


@command("report", panel=ANSWERS)
def report(
    opening: Opening,
    selection: Selection,
    resize: Resize,
    reading: Reading,
    output: Output,
    terminal: Terminal,
    look: PageLook,
    asked_live: LiveAsked,
    checkpoints: Checkpoints = None,
) -> None:
    """One self-contained page: every answer, with how to read it and where it comes from."""
    options: dict[str, Any] = {
        **vars(look), "command": command_line(), "now": now(), "hints": reading.hints(),
        "options": options_of_questions(
            selection, resize, reading, asked_live.max_memory
        ),
    }  # fmt: skip
    folder = gallery_in(checkpoints or [])
    make = partial(_page, checkpoints or [None]) if folder is None else partial(_index, folder)
    asked = Asked.without_files(Source(), reading, terminal, output)
    with progress_bar("report", quiet=terminal.quiet) as tell:
        options["live"] = asked_live.run(selection.query(), tell, is_folder=folder is not None)
        carry_out(make(opening, asked, options))


def _page(
    given: Sequence[str | None], opening: Opening, asked: Asked, options: dict[str, Any]
) -> CommandRun:
    """Return the making of one page about one or several checkpoints."""
    from pe_inspect.front.report import report as ask
    from pe_inspect.front.report import unanswered

    sources = [Source(**vars(opening), checkpoint=name) for name in given]
    subjects = [
        open_subject(source, asked.reading, asked.terminal, with_sha256=True) for source in sources
    ]
    folder = output_folder(asked.output, "-and-".join(each.name for each in subjects[:3]))
    folder.claim([PAGE])
    say = partial(note, quiet=asked.terminal.quiet)
    for refusal in unanswered([pe for each in subjects for pe in each.tables], options["options"]):
        say(refusal)
    question = Question(
        "report", partial(ask, **options, say=say), figures=(), pages={PAGE: write_page},
        lines=nothing, notes=nothing, told=lambda _: {},
        is_told=options["live"].is_asked is not False,
    )  # fmt: skip
    return CommandRun(question, asked, folder, (target_of(subjects),), pages_object)


def _index(folder: Path, opening: Opening, asked: Asked, options: dict[str, Any]) -> CommandRun:
    """Return the making of a page of every checkpoint in a folder, and of their index."""
    from pe_inspect.front.gallery import gallery as ask

    place = output_folder(asked.output, checkpoint_name(folder))
    tell = PageTeller(place.path, asked.terminal)
    watch = partial(counted, what="checkpoint", quiet=asked.terminal.quiet)
    make = partial(
        ask, out=place.path, force=place.force, watch=watch, tell=tell, **options,
        **opening.opening(),
    )  # fmt: skip
    question = Question(
        "report", make, figures=(), lines=index_line, quiet_lines=index_line, notes=nothing,
        told=tell.as_json, is_told=True,
    )  # fmt: skip
    return CommandRun(question, asked, place, (Target(folder),), pages_object)
