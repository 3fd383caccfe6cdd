"""Shared parts of the commands: common options, printing and checks."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from sim import api
from sim.cli.ending import STDOUT, Failure, say_failed
from sim.inputs.beside import beside, unwritable
from sim.inputs.cinders import INSTALLED, Cinder, cinders_of
from sim.inputs.problems import BadInput, printable, quoted
from sim.inputs.shown import Unescaped, escaped
from sim.inputs.strategies import STRATEGIES
from sim.run import ENGINES, engine_of, not_compiled, unknown

if TYPE_CHECKING:
    import pandas as pd

    from sim.inputs.scenario import Case
    from sim.inputs.scenario import Scenario as Spec
    from sim.sweep.cluster import Scheduler


def _engines(incomplete: str) -> list[str]:
    return [name for name in ENGINES if name.startswith(incomplete)]


def one_strategy(incomplete: str) -> list[str]:
    """Complete one strategy name, for a shell."""
    return [name for name in STRATEGIES if name.startswith(incomplete)]


def _more_strategies(incomplete: str) -> list[str]:
    """Complete a comma-separated list of strategies, for a shell: the text with each possible next name."""
    before, comma, last = incomplete.rpartition(",")
    names = [*([] if comma else ["all"]), *(name for name in STRATEGIES if name not in before.split(","))]
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


class Format(StrEnum):
    """File formats that `--out` can write."""

    csv = "csv"
    parquet = "parquet"


MOST_WORKERS = 1024
MOST_RUNS = 1_000_000

Scenario = Annotated[Path, typer.Argument(metavar="SCENARIO", help="The scenario's YAML file.")]
Engine = Annotated[
    str,
    typer.Option(
        help="Engine that simulates: cinder (Cinder's own code) or fast (compiled).", autocompletion=_engines
    ),
]
Strategies = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Strategies to simulate, or all (default: those in the scenario).",
        autocompletion=_more_strategies,
    ),
]
Cinders = Annotated[
    str | None,
    typer.Option(
        "--cinder",
        metavar="A,B,...",
        help="Let other Cinders decide: a release (26.1.0), the last of a series (26), installed, or a"
        " checkout (./cinder). The first use of a release installs it into the cache folder.",
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Check rules that Cinder's cache must keep (invariants) while engine cinder runs. It takes"
        " longer. If one breaks, the exit code is 1.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write tables and a manifest into DIR, one folder per strategy."),
]
Fmt = Annotated[
    Format | None, typer.Option("--format", help="File format of the tables in --out (default: csv).")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Workers = Annotated[int, typer.Option(help="Number of processes; -1 means one per core.")]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run the simulations on the workers of this Dask scheduler. Whoever answers there is trusted: it"
        " sees the scenario and may run code here.",
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option("--tls-ca-file", metavar="FILE", help="Trust only a scheduler that this authority signed."),
]
TlsCert = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="This client's certificate for --dask tls://…"),
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The key of --tls-cert.")]
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Print Cinder's log on stderr, and the traceback of a failed run."),
]


def show(text: str, coloured: bool = False) -> None:
    """Print results to stdout; stop quietly when the reader has closed the pipe (`| head`).

    `coloured`: names in the text are escaped, and what is not is rich's.
    """
    try:
        print(text if coloured else escaped(text), file=Unescaped(sys.stdout), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, STDOUT) from error


def print_failure(strategy: str, failure: Failure, verbose: bool = False) -> None:
    """Report a failed run in one line on stderr."""
    say_failed(f"strategy {strategy} failed: {failure.words}", failure, verbose)


def folder_for(command: str, case: Case) -> Path:
    """The folder of a command without `--out`, by its name and the scenario's. Raises BadInput."""
    name = "".join("-" if each == "/" or not each.isprintable() else each for each in case.scenario.name)
    folder = Path(f"{command}-{name.encode()[:200].decode(errors='ignore')}")
    if problems := unwritable(folder):
        raise BadInput(problems)
    return folder


def bad_options(engine: str, strategies: list[str], out: Path | None, fmt: Format | None) -> list[str]:
    """Problems with the options that most commands share."""
    problems = unknown(engine, strategies)
    if out is not None:
        problems += unwritable(out)
    elif fmt is not None:
        problems.append("--format: nothing is written without --out")
    return problems


def deciding(text: str | None, engine: str, problems: list[str]) -> list[Cinder]:
    """The Cinders that `--cinder` names, else the installed one; notes problems with the option."""
    if text is None:
        return [INSTALLED]
    found, wrong = cinders_of(text)
    problems += wrong
    if engine != "cinder":
        problems.append("--cinder: only engine cinder runs another Cinder: leave out --engine")
    return found


def handed_over(scenario: Spec, engine: str) -> str:
    """The engine that runs a scenario; a line on stderr if it is not the one that was asked for."""
    found = engine_of(scenario, engine)
    if found != engine:
        what = printable("; ".join(not_compiled(scenario)))
        print(f"engine {engine} cannot run {what}. Engine {found} runs instead.", file=sys.stderr)
    return found


def wrong_workers(workers: int) -> list[str]:
    """Problems with `--workers`."""
    if workers == -1 or 0 < workers <= MOST_WORKERS:
        return []
    return [f"--workers: give a number of processes, 1 to {MOST_WORKERS:,}, or -1 for one per core"]


def scheduler_of(
    dask: str | None, ca: Path | None, cert: Path | None, key: Path | None, problems: list[str]
) -> Scheduler | None:
    """The Dask scheduler that the options name; notes problems with the files for TLS."""
    files = {"--tls-ca-file": ca, "--tls-cert": cert, "--tls-key": key}
    given = {option: path for option, path in files.items() if path is not None}
    problems += [
        f"{option}: {printable(str(path))} is not a file"
        for option, path in given.items()
        if not path.is_file()
    ]
    if given and not (dask or "").startswith("tls://"):
        problems.append(f"{', '.join(given)}: only for --dask tls://HOST:PORT")
    if dask is None:
        return None
    from sim.sweep.cluster import Scheduler

    return Scheduler(dask, ca, cert, key)


def too_many(replications: int, points: int, creates: int, most: int = MOST_RUNS) -> list[str]:
    """Problems with how many runs the options ask for."""
    if (runs := replications * points) <= most:
        return []
    option = "--replications" if replications > 1 else "--vary"
    return [f"{option}: {runs:,} runs of {creates:,} creates each are too many: at most {most:,} runs"]


ONE_HISTORY = "{}: a trace has one history: replications need workload.generate"
WarmUp = Annotated[
    str,
    typer.Option(
        metavar="auto|DURATION",
        help="Do not count creates before this time (2d, 12h). auto finds when hits are steady (MSER-5).",
    ),
]


def wrong_warm_up(text: str) -> list[str]:
    """Problems with `--warm-up`."""
    try:
        _warm_up_s(text)
    except ValueError:
        return [f"--warm-up: {quoted(text)} is neither auto nor a duration such as 2d, 12h or 90s"]
    return []


def warm_up_s(text: str, case: Case, strategies: list[str]) -> float:
    """Seconds for `--warm-up`. For `auto`, a line on stderr states them.

    Raises BadInput if no event comes after the warm-up.
    """
    seconds = _warm_up_s(text)
    if seconds is None:
        from sim.sweep.warmup import warm_ups_s

        found = warm_ups_s(case, strategies)
        longest = max(found, key=found.__getitem__)
        seconds = found[longest]
        print(f"warm-up: {seconds:,.0f} s, of {longest}, the longest (MSER-5)", file=sys.stderr)
    last_s = float(case.trace.events["time"].max())
    if seconds and seconds >= last_s:
        raise BadInput([f"--warm-up: {seconds:,.0f} s, but the last event is at {last_s:,.0f} s"])
    return seconds


def _warm_up_s(text: str) -> float | None:
    """Seconds that the text states; None for `auto`."""
    from pydantic import TypeAdapter

    from sim.inputs.generator import Duration

    if text == "auto":
        return None
    seconds = float(text) if text.replace(".", "", 1).isdecimal() else text
    return 0.0 if seconds == 0 else TypeAdapter(Duration).validate_python(seconds)


class Told(Protocol):
    """A callback for progress: how much is done, and the new total if it has changed."""

    def __call__(self, done: int, total: int | None = None) -> None: ...


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage: results live to the end, and Python would look through all of them often."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


@contextmanager
def progress(what: str, events: int | None, shown: bool) -> Iterator[Told | None]:
    """Show a progress bar on stderr while something runs, if stderr is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.progress import Progress

    from sim.report.terminal import console

    with Progress(console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=events)

        def told(done: int, total: int | None = None) -> None:
            bars.update(bar, completed=done, total=total)

        yield told


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as values that JSON can hold; NaN becomes null."""
    objects = table.astype(object)
    rows = objects.where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table and replace an earlier file at once, never in part."""
    from sim.inputs import cells

    with beside(path) as (new,):
        cells.write_csv(table, new)


def print_json(document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, allow_nan=False)
    show(text.replace("\x7f", "\\u007f"), coloured=True)  # json leaves DEL alone


def checked(
    scenario: Path,
    chosen: list[str] | None,
    problems: list[str],
    most_events: int | None = None,
    replications: int = 1,
    most_drawn: int | None = None,
) -> Case:
    """Load the scenario and check that its strategies can run.

    Raises BadInput with all problems: the given ones and those found here.
    """
    try:
        case = api.load(scenario, most_events, most_drawn=most_drawn)
        if replications > 1 and case.scenario.workload.generate is None:
            problems = [*problems, ONE_HISTORY.format(printable(str(scenario)))]
        if not problems:
            from sim.model.initial import misfits

            problems = misfits(case, chosen or case.scenario.strategies)
    except BadInput as error:
        problems = problems + error.problems
    if problems:
        raise BadInput(problems)
    return case
