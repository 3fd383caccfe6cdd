"""How a command ends: exit codes, and what is said of an error in one line."""

from __future__ import annotations

import codecs
import errno
import inspect
import io
import os
import re
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from sim.inputs.cinders import CinderFailed, NotInstalled
from sim.inputs.problems import LONGEST, BadInput
from sim.inputs.shown import Secrets, Stream, one_line, plainly

Command = TypeVar("Command", bound=Callable[..., None])
FULL = {errno.ENOSPC, errno.EDQUOT}
STDOUT = "stdout"  # the file of errors of what is printed
OUTPUTS = ("out",)
ORDER = (  # of the commands in the help: from a cloud to an answer, then its reasons, then tools
    *("advise", "import", "calibrate", "validate", "compare", "plan", "storm", "verdict", "report", "watch"),
    *("curve", "sweep", "run", "verify", "generate", "fit", "cinders"),
)
DATABASE = "CINDER_CACHE_DB"  # the URL of a database, where it is not on the command line


class _Commands(typer.core.TyperGroup):
    """The commands. What was given wrongly is shown escaped, shortened and without its passwords."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _shown():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _shown():
            return super().invoke(ctx)


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        shown, said = getattr(error, "format_message", None), getattr(error, "message", None)
        if shown is not None and isinstance(said, str):  # an error of usage, which Typer prints
            around = len(f"Error: {shown()}") - len(said)
            error.message = secrets.hidden(one_line(said, LONGEST - around))  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    cls=_Commands,
    help="Simulate and size OpenStack Cinder's image-volume cache.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Trace = Annotated[bool, typer.Option("-v", "--verbose", help="Print the traceback of an error.")]
secrets = Secrets([*sys.argv[1:], os.environ.get(DATABASE, "")])


def safe_streams() -> None:
    """Let nothing reach stdout and stderr that a terminal should not see."""
    codecs.register_error("plainly", plainly)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, Stream(stream, secrets))


def command(name: str | None = None) -> Callable[[Command], Command]:
    """Add a function to the app as a command that ends without a traceback. It gets the option `-v`."""

    def added(function: Command) -> Command:
        signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
        called, own = name or function.__name__, "verbose" in signature.parameters
        labels = {each: _label(each, hint) for each, hint in hints.items()}

        @wraps(function)
        def ending(**given: Any) -> None:
            verbose = given["verbose"] if own else given.pop("verbose")
            try:
                if problems := _misused(given, labels):
                    raise BadInput(problems)
                function(**given)
            except typer.Exit:
                raise
            except Exception as error:
                files = ", ".join(str(path) for key, path in _paths(given) if key not in OUTPUTS)
                raise typer.Exit(ended(error, called, files, verbose)) from None

        parameters = [each.replace(annotation=hints[key]) for key, each in signature.parameters.items()]
        if not own:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter("verbose", keyword, default=False, annotation=Trace))
        ending.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        ending.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name)(ending)
        return function

    return added


def ended(error: Exception, called: str = "", files: str = "", verbose: bool = False) -> int:
    """Say on stderr what ended a command; returns its exit code: 2 for bad input, else 1."""
    with suppress(OSError):  # stderr may be full or closed
        if isinstance(error, BadInput):
            for line in error.problems:
                print(secrets.hidden(one_line(line)), file=sys.stderr)
            return 2
        said = ": ".join(part for part in (f"cinder-cache {called}".strip(), files, words(error)) if part)
        say_failed(said, Failure.of(error), verbose)
    return 1


@dataclass(frozen=True)
class Failure:
    """An error in words, with its traceback: a process can send it, which many errors do not survive."""

    words: str
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        return cls(words(error), "".join(traceback.format_exception(error)))


def say_failed(said: str, failure: Failure, verbose: bool) -> None:
    """Say in one line on stderr what failed, and where its traceback is; `verbose` prints that, too."""
    text = secrets.hidden(failure.trace)
    if verbose:
        print(text, file=sys.stderr)
        where = ""
    else:
        where = f" (traceback: {_written(text)})"
    print(secrets.hidden(one_line(said, LONGEST - len(where))) + where, file=sys.stderr)


def words(error: Exception) -> str:
    """An error in words that say what to do, where there are such; else its kind and its text."""
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".removesuffix(": ")
    if isinstance(error, RecursionError):
        return "RecursionError: something is nested too deeply"
    if isinstance(error, CinderFailed | NotInstalled):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        file = error.filename
        if error.errno in FULL:
            where = " for stdout" if file == STDOUT else f" in {os.path.dirname(file) or '.'}" if file else ""
            return f"no space left{where}"
        return f"{error.strerror}: {file}" if file else error.strerror
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def full(error: Exception) -> bool:
    """Whether an error says that a disk is full."""
    return isinstance(error, OSError) and error.errno in {*FULL, errno.EFBIG}


def _written(text: str) -> str:
    """Where the traceback can be read."""
    try:
        number, path = tempfile.mkstemp(prefix="cinder-cache-", suffix=".txt")
        with open(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return "-v prints it"
    return f"{path}, or -v"


def _misused(given: dict[str, Any], labels: dict[str, str]) -> list[str]:
    """Problems with what was given for files. A URL is not shown: it may have a password."""
    problems = []
    for key, path in _paths(given):
        if what := _no_file(path):
            problems.append(f"{labels[key]}: {what}")
    return problems


def _no_file(path: Path) -> str:
    """Why a path can be no file and no folder, or nothing. It may be that there is none yet."""
    if str(path) == "-":
        return "- is not a file"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) and not os.path.lexists(path):
        return "a URL is not a file"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        here = error.errno in (errno.ENAMETOOLONG, errno.ELOOP)
        return f"{one_line(str(path), 200)}: {error.strerror}" if here else ""
    device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    return f"{path} is a device, not a file" if device else ""


def _paths(given: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    for key, value in given.items():
        if isinstance(value, Path):
            yield key, value
        elif isinstance(value, list | tuple):
            for each in value:
                yield from _paths({key: each})


def _label(key: str, hint: object) -> str:
    """The name of an option or argument as users write it."""
    for about in getattr(hint, "__metadata__", ()):
        if isinstance(about, typer.models.ArgumentInfo):
            return str(about.metavar)
        long = [each for each in about.param_decls or () if each.startswith("--")]
        if long:
            return str(long[0])
    return f"--{key.replace('_', '-')}"
