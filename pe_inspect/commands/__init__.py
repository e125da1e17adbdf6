"""The command line: one file per command, which parses, makes one library call, prints, writes.

The folder is discovered: a new command is one new file that registers a function.

    @command("similarity", panel=QUESTIONS)
    def similarity(source: Source, output: Output, terminal: Terminal) -> None:
        \"\"\"How alike are positions, in every layer.\"\"\"

What the options are called and mean is defined once, in `shell/options.py`.
"""

from __future__ import annotations

import gc
import sys

from pe_inspect.commands.shell import commands

__all__ = ["commands", "main"]


_NEW_OBJECTS = 100_000
"""After how many the collector looks: a file's header is many, and lives as long as the program."""


def main() -> None:
    """Run `pe-inspect` on the process's arguments, and exit with its code.

    Only the file of the command that was typed is imported, and all of them where none was.
    """
    gc.set_threshold(_NEW_OBJECTS)
    try:
        from pe_inspect.commands.shell.program import program

        run = program([word for word in sys.argv[1:2] if word in commands.stems()])
    except KeyboardInterrupt:  # while the commands are imported: nobody else would catch it
        sys.exit(130)
    except ModuleNotFoundError as error:  # a checkout, and a Python that has only itself
        sys.exit(_without(error))
    run(prog_name="pe-inspect")


def _without(error: ModuleNotFoundError) -> int:
    """Say which package this Python lacks, and return the exit code."""
    sys.stderr.write(
        f"Error: pe-inspect needs the package {error.name}, which {sys.executable} does not have. "
        "`pip install .` in the checkout installs what reading and drawing need.\n"
    )
    return 2
