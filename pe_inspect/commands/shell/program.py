"""The program around the commands: one group, one way out for every error."""

from __future__ import annotations

import difflib
import errno
import platform
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Final, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from pe_inspect.commands.shell import (
    ANSWERS,
    LOOK,
    MAKE,
    QUESTIONS,
    Command,
    commands,
)
from pe_inspect.commands.shell.describe import as_typed
from pe_inspect.commands.shell.terminal import (
    complain,
    leave_closed_pipe,
    tolerate_any_encoding,
    write_line,
)
from pe_inspect.errors import PEInspectError, UsageError, reason, refusal
from pe_inspect.interruptions import heed_interruptions
from pe_inspect.registry import did_you_mean

HELP: Final = (
    "See what a Vision Transformer's position embedding learned.\n\n"
    "CHECKPOINT is a weight file, a folder, timm:NAME, hf-hub:ORG/NAME, a URL, or the name of a "
    "recipe; left out, it is the newest one under ./checkpoints/, else the one brought along."
)
PANELS: Final = (LOOK, QUESTIONS, ANSWERS, MAKE)
INTERRUPTED: Final = 130
UNTOUCHED: Final = "Files are written whole or not at all: nothing is half-written."
BUG: Final = 1
WITH_COMMAS: Final = ("--layer", "--method")
# What the system refuses because of the path that was typed, whichever option named it.
REFUSED: Final = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MARKUP: Final = re.compile(r"\[(?=[a-z#/@])")  # what Rich would take for a style

# typer brings its own copy of click in some releases: its errors are found through its own names.
_ClickUsage: Any = typer.BadParameter.__mro__[1]
_ClickError: Any = typer.BadParameter.__mro__[2]


class _Interrupted(Exception):
    """Ctrl-C, with what it left behind."""


class _PlainHelp:
    """`--help` is a flag: typer would show `<bool>` beside it, and convert its absence."""

    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None and option.metavar != "":
            option.metavar = ""
            _spare_conversion(option)
        return option


class _CommandOfProgram(_PlainHelp, TyperCommand):
    """One command."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the command line; an option that takes one value is not given twice."""
        parser: Any = self.make_parser(ctx)
        _refuse_repeated(parser.parse_args(args=list(args))[2])
        return super().parse_args(ctx, args)


def _refuse_repeated(given: Sequence[Any]) -> None:
    """Stop where a second value would silently replace the first.

    Raises:
        UsageError: some option was given several times that takes one value.
    """
    for parameter in given:
        single = parameter.param_type_name == "option" and not (
            parameter.multiple or parameter.is_flag or parameter.count
        )
        times = sum(one is parameter for one in given)
        if single and times > 1:
            name = max(parameter.opts, key=len)
            commas = ", several with commas" if name in WITH_COMMAS else ""
            raise UsageError(f"{name} was given {times} times; it takes one value{commas}.")


class Program(_PlainHelp, TyperGroup):
    """The group of all commands: every error becomes plain lines and an exit code."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> Any:
        """Run one command line; exit with its code unless `standalone_mode` is false."""
        tolerate_any_encoding()
        words = sys.argv[1:] if args is None else list(args)
        standalone = options.pop("standalone_mode", True)
        options["prog_name"] = "pe-inspect"  # whichever of the three doors was used

        def run() -> Any:
            try:
                return super(Program, self).main(
                    words or ["--help"], standalone_mode=False, **options
                )
            except ModuleNotFoundError:
                from pe_inspect.extras import needed

                with needed():
                    raise

        if not standalone:
            return guarded(run, words)
        heed_interruptions()
        if "--debug" not in words:
            warnings.showwarning = _warn
        sys.exit(guarded(run, words))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer would forget what an interruption says of itself."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted(str(error) or UNTOUCHED) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; an unknown one is answered with the nearest names."""
        if args and self.get_command(ctx, args[0]) is None:
            raise UsageError(did_you_mean("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Say what a library warns of, without the line of it that does."""
    complain(f"Warning: {reason(Exception(message))} ({category.__name__})")


def program(names: Collection[str] = ()) -> Any:
    """Build the program from the commands of these names, which alone are imported, or from all."""
    app = typer.Typer(
        cls=Program,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback(help=HELP)(_options_of_the_program)
    chosen = {name: commands[name] for name in names or commands.stems()}
    for name, entry in sorted(chosen.items(), key=lambda item: PANELS.index(item[1].panel)):
        make = app.command(name, cls=_CommandOfProgram, rich_help_panel=entry.panel)
        make(expand(_prepared(name, entry)))
    whole: Any = typer.main.get_command(app)
    for each in (whole, *whole.commands.values()):
        texts = {p.name for p in signature(each.callback).parameters.values() if _is_text(p)}
        for parameter in each.params:
            _spare_conversion(parameter, is_text=parameter.name in texts)
            parameter.help = MARKUP.sub(r"\\[", parameter.help or "")
    return whole


def _prepared(name: str, entry: Command) -> Callable[..., Any]:
    """Return the command, which first looks for the libraries that it cannot do without."""
    if not entry.needs:
        return entry.function

    @wraps(entry.function)
    def call(*given: Any, **options: Any) -> Any:
        from pe_inspect.extras import require

        require(entry.needs, f"pe-inspect {name}")
        return entry.function(*given, **options)

    return call


def expand(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with each dataclass parameter replaced by that dataclass's fields.

    A group of options is thereby defined once, as a dataclass of `Annotated[type, typer.Option()]`
    fields, and a command asks for it by naming it in its signature.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    defaults = {name: p.default for name, p in signature(function).parameters.items()}
    parameters = [plain for name in defaults for plain in _flat(name, hints[name], defaults[name])]

    @wraps(function)
    def call(**given: Any) -> Any:
        built = {name: _take(group, given) for name, group in groups.items()}
        return function(**built, **given)

    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call


def _flat(name: str, hint: Any, default: Any) -> Iterator[Parameter]:
    """Yield the plain parameters of one parameter: itself, or a group's, groups within included."""
    if not is_dataclass(hint):
        kind = Parameter.KEYWORD_ONLY
        yield Parameter(name, kind, default=default, annotation=hint)
        return
    inner = get_type_hints(hint, include_extras=True)
    for field in fields(hint):
        yield from _flat(field.name, inner[field.name], field.default)


def _take(group: Any, given: dict[str, Any]) -> Any:
    """Build a group from the plain values that are its own."""
    inner = get_type_hints(group)
    values = {
        field.name: _take(inner[field.name], given)
        if is_dataclass(inner[field.name])
        else given.pop(field.name)
        for field in fields(group)
    }
    return group(**values)


def _is_text(parameter: Parameter) -> bool:
    return get_args(parameter.annotation)[:1] in ((str,), (str | None,))


def _spare_conversion(parameter: Any, *, is_text: bool = False) -> None:
    """Take texts, defaults and options that were not given as they are.

    Recent releases of typer import pydantic, 70 ms, as soon as they convert anything, be it a
    text to a text.
    """
    if parameter.nargs == 1 and not getattr(parameter, "multiple", False):
        parameter.process_value = partial(_process, parameter, parameter.process_value, is_text)


def _process(
    parameter: Any, convert: Callable[..., Any], is_text: bool, context: Any, value: Any
) -> Any:
    is_absent = value is None and not parameter.required
    is_default = value is not None and value == parameter.default
    if is_absent or is_default or (is_text and isinstance(value, str)):
        return value
    return convert(context, value)


def _print_version(asked: bool) -> None:
    if asked:
        from pe_inspect.version import __version__

        write_line(f"pe-inspect {__version__}")
        raise typer.Exit


def _options_of_the_program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            metavar="",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """See what a Vision Transformer's position embedding learned."""


def guarded(run: Callable[[], Any], words: Sequence[str]) -> int:
    """Call `run`; turn whatever it raises into lines on stderr and the contract's exit code."""
    try:
        code = run()
    except KeyboardInterrupt as error:
        return _explain(_Interrupted(str(error) or UNTOUCHED), words)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # what printing help makes of `| head`
            leave_closed_pipe()
            return 0
        code = stop.code if isinstance(stop.code, int) else BUG
    except Exception as error:
        if "--debug" in words:
            complain("".join(traceback.format_exception(error)).rstrip())
        return _explain(error, words)
    if code == INTERRUPTED:  # what typer makes of Ctrl-C while it reads the arguments
        return _explain(_Interrupted(UNTOUCHED), words)
    return code if isinstance(code, int) else 0


def _explain(error: Exception, words: Sequence[str]) -> int:
    if isinstance(error, PEInspectError):
        complain(f"Error: {error}")
        return error.exit_code
    if isinstance(error, _ClickError):
        complain(f"Error: {_click_message(error)}")
        return UsageError.exit_code
    if isinstance(error, (_Interrupted, typer.Abort)):
        complain(f"Interrupted. {error}".rstrip())
        return INTERRUPTED
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename is not None:
        complain(f"Error: {refusal(error)}")
        return UsageError.exit_code
    if isinstance(error, OSError) and error.errno in FULL:
        complain(f"Error: Cannot write: {error.strerror}. Make room, or choose another place.")
        return UsageError.exit_code
    if isinstance(error, MemoryError):
        complain(f"Error: There is not enough memory for this. {error}".rstrip())
        complain("Ask for less: a smaller --res, one --layer, or --no-figures.")
        return UsageError.exit_code
    complain(_bug_report(error, words))
    return BUG


def _click_message(error: Any) -> str:
    context = getattr(error, "ctx", None)
    message = _unknown_option(error, context) or error.format_message()
    if context is None:
        return str(message)
    return f"{message}\n`{context.command_path} --help` lists the arguments and options."


def _unknown_option(error: Any, context: Any) -> str | None:
    """Return `Unknown option '--lyaer'. Did you mean '--layer'?` for an option of no command."""
    name = getattr(error, "option_name", None)
    if context is None or name is None or not error.message.startswith("No such option"):
        return None
    spelled = [option for parameter in context.command.params for option in parameter.opts]
    known = [option[2:] for option in spelled if option.startswith("--")]
    near = difflib.get_close_matches(name.lstrip("-"), known, n=2, cutoff=0.6)
    meant = f" Did you mean {' or '.join(repr(f'--{each}') for each in near)}?" if near else ""
    return f"Unknown option {name!r}.{meant}"


def _bug_report(error: Exception, words: Sequence[str]) -> str:
    from pe_inspect.version import __version__

    what = "".join(traceback.format_exception_only(error)).strip()
    return (
        f"Error: pe-inspect met a bug: {what}\n"
        "Please report it to the maintainers, with these lines and what --debug adds to them:\n"
        f"  pe-inspect {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"  {as_typed(words)}"
    )
