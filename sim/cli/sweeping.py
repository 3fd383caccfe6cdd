"""The command `sweep`: it runs a scenario many times."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.ending import command
from sim.cli.shared import (
    Cinders,
    Dask,
    Json,
    Scenario,
    TlsCa,
    TlsCert,
    TlsKey,
    WarmUp,
    Workers,
    checked,
    deciding,
    folder_for,
    handed_over,
    plain,
    print_json,
    progress,
    scheduler_of,
    show,
    too_many,
    uncollected,
    warm_up_s,
    write_csv,
    wrong_warm_up,
    wrong_workers,
)
from sim.inputs.beside import unwritable
from sim.inputs.cinders import INSTALLED, Cinder
from sim.inputs.problems import BadInput, printable

if TYPE_CHECKING:
    import pandas as pd

    from sim.inputs.scenario import Case
    from sim.report.explore import Panel
    from sim.report.parts import Ran
    from sim.sweep.results import Result
    from sim.sweep.varying import Point


class Sampling(StrEnum):
    """How `--sample` chooses combinations."""

    latin = "latin"
    random = "random"


@command()
def sweep(
    scenario: Scenario,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="Values for a key: a,b,c or 0..100:5. In KEY, `*` is every name, `flash-*` some names.",
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--list", metavar="FILE", help="A CSV file of runs: one row per run, one column per key."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Run only this many combinations of --vary, not all.")
    ] = None,
    sampling: Annotated[Sampling, typer.Option(help="How --sample chooses combinations.")] = Sampling.latin,
    replications: Annotated[
        int, typer.Option(min=1, help="How many times to redraw a generated workload.")
    ] = 1,
    warm_up: WarmUp = "0",
    cinder: Cinders = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the results of every cell (default: sweep-NAME)."),
    ] = None,
    workers: Workers = -1,
    dask: Dask = None,
    tls_ca_file: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: Json = False,
) -> None:
    """Simulate a scenario with many values of its keys.

    A cell is one run: a strategy with one combination of values. Cells run on engine `fast`, on all cores.
    With --cinder, each cell runs on engine `cinder` with each Cinder, and the tables have a column for it.
    DIR keeps every finished cell: after an interruption, the same command continues. DIR/sweep.csv has the
    results: for each cell, one row per tier, pool and backend, and one for all together. DIR/intervals.csv
    has their confidence intervals: over replications, or over blocks of one history.

    \b
    Example: hits and space at 1, 2 and 3 entries, under two strategies:
      cinder-cache sweep scenarios/smallest.yaml \\
          --vary 'backends.*.image_volume_cache_max_count=1..3' \\
          --vary strategy=cache-only,combined
    """
    problems = wrong_workers(workers) + wrong_warm_up(warm_up) + (unwritable(out) if out else [])
    scheduler = scheduler_of(dask, tls_ca_file, tls_cert, tls_key, problems)
    cinders = None if cinder is None else deciding(cinder, "cinder", problems)
    case = checked(scenario, None, problems, replications=replications)
    if cinders is None:
        handed_over(case.scenario, "fast")
    folder = folder_for("sweep", case) if out is None else out
    deciding_each = len(cinders or [None])

    def bounded(points: int) -> None:
        if problems := too_many(replications, points * deciding_each, case.creates):
            raise BadInput(problems)

    points = _points(case, vary or [], rows, sample, sampling, bounded)
    from sim.analysis.results import together
    from sim.sweep.intervals import intervals
    from sim.sweep.results import value_text
    from sim.sweep.sweep import sweep as run_cells
    from sim.sweep.sweep import tidy
    from sim.sweep.varying import VARY, check

    check(case.scenario, points, rows or VARY)
    counted_from_s = warm_up_s(warm_up, case, list(dict.fromkeys(point.strategy for point in points)))
    with uncollected(), progress("cells", len(points) * deciding_each * replications, shown=True) as done:
        results = run_cells(
            case,
            points,
            cinders=cinders,
            replications=replications,
            warm_up_s=counted_from_s,
            folder=folder,
            workers=workers,
            dask=scheduler,
            progress=done,
        )
    table, certain = tidy(results), intervals(case, results)
    with together(folder) as new:
        write_csv(table, new / "sweep.csv")
        write_csv(certain, new / "intervals.csv")
        if len(certain) and deciding_each == 1:  # of several Cinders none is recommended
            _report(case, certain, results, counted_from_s, new, cinders[0] if cinders else None)
    if as_json:
        print_json({"scenario": case.scenario.name, "cells": plain(table), "intervals": plain(certain)})
    else:
        show(_shown(table, certain, results), coloured=True)
    print(f"sweep: written to {printable(str(folder / 'sweep.csv'))}", file=sys.stderr)
    failed = [result for result in results if result.error]
    for result in failed:
        strategy, *rest = ((key, value_text(value)) for key, value in result.point.items())
        values = ", ".join(f"{key}={value}" for key, value in rest)
        print(f"cell {strategy[1]} {values} failed: {result.error}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def _report(
    case: Case,
    certain: pd.DataFrame,
    results: list[Result],
    warm_up_s: float,
    folder: Path,
    cinder: Cinder | None,
) -> None:
    """Write `report.html` next to the tables."""
    from sim.api import curve
    from sim.inputs.strategies import STRATEGIES
    from sim.report.page import made_of, write
    from sim.report.swept import recommended, sweep_page
    from sim.sweep.intervals import points

    chosen = _ran(case, points(results)[recommended(certain)][0], warm_up_s, cinder)
    curves, strategies = None, [chosen.strategy, *certain["strategy"].unique()]
    cached = [name for name in strategies if STRATEGIES[name].image_volume_cache_enabled]
    if cached:
        with suppress(BadInput):  # another eviction than Cinder's
            curves = cached[0], curve(case, cached[0], engine="fast")
    failed = sum(bool(result.error) for result in results)
    made = made_of(case, "cinder" if cinder else "fast", warm_up_s)
    today = None if cinder else _today(case, results, warm_up_s)
    panel = None if today is None else _panel(case, certain, results, today)
    write(sweep_page(case, certain, failed, curves, chosen, made, today, panel), folder)


def _today(case: Case, results: list[Result], warm_up_s: float) -> pd.DataFrame | None:
    """The table of intervals of today's settings, which are simulated for it; None if that fails."""
    from sim.sweep.intervals import intervals
    from sim.sweep.sweep import sweep as run_cells
    from sim.sweep.varying import Point

    replications = 1 + max(result.replication for result in results)
    wanted = [Point((), case.scenario.todays_strategy())]
    today = run_cells(case, wanted, replications=replications, warm_up_s=warm_up_s, workers=1)
    return None if any(result.error for result in today) else intervals(case, today)


def _panel(case: Case, certain: pd.DataFrame, results: list[Result], today: pd.DataFrame) -> Panel | None:
    """What explores the points, beside today's settings."""
    from sim.inputs.conf import conf_of_scenario
    from sim.report.explore import sweep_panel
    from sim.report.swept import keys_of, recommended
    from sim.sweep.intervals import points
    from sim.sweep.varying import apply

    confs = [
        conf_of_scenario(apply(case.scenario, cells[0].values), cells[0].strategy)
        for cells in points(results)
    ]
    return sweep_panel(certain, today, keys_of(certain), recommended(certain), confs)


def _ran(case: Case, point: Result, warm_up_s: float, cinder: Cinder | None) -> Ran:
    """Run a point once more, because a cell keeps no rows of its run."""
    from sim.analysis.comparison import counted
    from sim.analysis.findings import findings
    from sim.report.aggregates import aggregates
    from sim.report.parts import Ran
    from sim.run import run
    from sim.sweep.varying import paths_of
    from sim.workload.loading import load

    raw = case.scenario.model_dump(by_alias=True)
    values = {path: value for key, value in point.values.items() for path in paths_of(key, raw)}
    at, strategy = load(case.path, values=values), point.strategy
    engine, decides = ("fast", INSTALLED) if cinder is None else ("cinder", cinder)
    records = counted(run(at, strategy, engine, cinder=decides), warm_up_s)
    return Ran(
        "recommended", strategy, at, aggregates(records, at, warm_up_s), findings(records, at, strategy)
    )


def _points(
    case: Case,
    vary: list[str],
    rows: Path | None,
    sample: int | None,
    sampling: Sampling,
    bounded: Callable[[int], None],
) -> list[Point]:
    from sim.sweep import varying

    strategies = case.scenario.strategies
    if (rows is None) == (not vary):
        raise BadInput(["--vary, --list: give one of them"])
    if rows is not None:
        if sample is not None:
            raise BadInput(["--sample: draws from --vary, not from --list"])
        points = varying.listed(rows, strategies)
        bounded(len(points))
        return points
    values = varying.parse(vary)
    each = 1 if varying.STRATEGY in values else len(strategies)
    if sample is None:
        bounded(each * math.prod(map(len, values.values())))
        return varying.grid(values, strategies)
    bounded(each * sample)
    return varying.sample(values, strategies, sample, sampling == Sampling.latin, case.scenario.seed)


def _shown(table: pd.DataFrame, certain: pd.DataFrame, results: list[Result]) -> str:
    from sim.report.display_sweep import sweep_text

    requests = sum(result.requests for result in results)
    counted = f"{len(results):,} cells of {requests:,} creates in all, equal ones simulated once"
    return f"{sweep_text(table, certain)}\n\n{counted}"
