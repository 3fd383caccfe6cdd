"""What the commands share: the app, its options, and how they print, check and end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import api
from sim.problems import BadInput, printable

if TYPE_CHECKING:
    import pandas as pd

    from sim.scenario import Case

app = typer.Typer(
    help="Simulates and sizes OpenStack Cinder's image-volume cache.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """Files that `--out` writes."""

    csv = "csv"
    parquet = "parquet"


Scenario = Annotated[Path, typer.Argument(metavar="SCENARIO", help="The scenario's YAML file.")]
Engine = Annotated[str, typer.Option(help="Which engine simulates.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write tables and manifest below DIR, a folder per strategy."),
]
Fmt = Annotated[Format | None, typer.Option("--format", help="Of --out's tables (default: csv).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Cinder's log, and where a run failed, on stderr.")
]


@contextmanager
def clean_end() -> Iterator[None]:
    """Bad input ends a command with a line for each problem, Ctrl-C with one line."""
    try:
        yield
    except BadInput as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


def show(text: str) -> None:
    """Results, to stdout; a reader that has gone away (`| head`) has read all that it wanted."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unwritable(path: Path) -> list[str]:
    """Why no folder can be made at `path`; its nearest ancestor that exists decides."""
    while not path.exists() and path != path.parent:
        path = path.parent
    name = printable(str(path))
    if not path.is_dir():
        return [f"--out: {name} is not a directory"]
    return [] if os.access(path, os.W_OK | os.X_OK) else [f"--out: {name} is not writable"]


@contextmanager
def progress(what: str, events: int | None, shown: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr while something runs, if somebody looks at it."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=events)
        yield lambda done: bars.update(bar, completed=done)


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON can hold them: NaN is null."""
    objects = table.astype(object)
    rows = objects.where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def print_json(document: dict[str, Any]) -> None:
    show(json.dumps(document, indent=2, allow_nan=False))


def checked(
    scenario: Path, chosen: list[str] | None, problems: list[str], most_events: int | None = None
) -> Case:
    """The case, fit for the strategies; raises BadInput with all problems, known or found here."""
    try:
        case = api.load(scenario, most_events)
        if not problems:
            problems = api.misfits(case, chosen or case.scenario.strategies)
    except BadInput as error:
        problems = problems + error.problems
    if problems:
        raise BadInput(problems)
    return case
