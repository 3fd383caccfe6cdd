"""What comes of the rows of a job: simulate each, on one process or several, and write its tables."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sim import api
from sim.cli.ending import Failure, full
from sim.cli.jobs import Job
from sim.cli.shared import Format, print_failure, progress
from sim.inputs.beside import scratch
from sim.inputs.cinders import Cinder, NotInstalled
from sim.inputs.memory import RUN_BYTES, gib_of, memory_gib
from sim.inputs.problems import BadInput, printable
from sim.run import engine_of, run

if TYPE_CHECKING:
    import pandas as pd

    from sim.analysis.recommend import Raises
    from sim.analysis.rows import Row
    from sim.analysis.wording import Finding
    from sim.model.records import Records
    from sim.report.aggregates import Aggregates

# Events of all rows from which it is faster to start processes, which import for seconds.
WORTH_PROCESSES = {"cinder": 20_000, "fast": 2_000_000}


@dataclass(frozen=True)
class Outcome:
    """The results of one row's run that are shown. It does not keep the creates: there may be millions.

    A process that simulates for another one sends it without its row, which the other one has.
    """

    row: Row
    summary: pd.DataFrame
    pools: pd.DataFrame
    findings: list[Finding]
    manifest: dict[str, Any]
    uploads: pd.DataFrame | None = None
    counts: pd.DataFrame | None = None  # `sim.analysis.comparison.in_blocks`, of a history in memory
    aggregates: Aggregates | None = None  # for the report, of one in memory
    hosts: pd.Series[Any] | None = None  # where its creates from an image went
    raises: Raises = field(default_factory=dict)  # what to raise first, by tier
    records: Records | None = None  # of several Cinders, to tell them apart
    broken: tuple[str, ...] | None = None  # invariants, of a run that was watched
    nodes: pd.DataFrame | None = None  # `Records.nodes`
    links: pd.DataFrame | None = None  # `Records.links`

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"row": None}


def outcomes_of(job: Job) -> list[Outcome]:
    """Simulate the rows, and write each; a line on stderr names each failure. All are in their order.

    Raises BadInput for a trace that is checked while it is read, and OSError if the disk is full: no other
    row could be written.
    """
    verbose, outcomes = job.options.verbose, []
    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    rows = _installed(job)
    with closing(_simulated(job, rows)) as simulated:
        for row, found in zip(rows, simulated, strict=True):
            if isinstance(found, Failure):
                print_failure(row.name, found, verbose)
                continue
            outcomes.append(replace(found, row=row))
            if job.options.out is not None and job.new is not None:
                _hidden(job.new, row).replace(job.new / row.name)
                job.told.append(f"{row.name}: written to {printable(str(job.options.out / row.name))}")
    return outcomes


def _installed(job: Job) -> list[Row]:
    """The rows whose Cinders can be installed, and now are; a line on stderr names each other Cinder."""
    rows, lost = [], set[Cinder]()
    for row in job.rows:
        if row.cinder.release is not None and row.cinder not in lost:
            from sim.cinders.apart import ready

            try:
                ready(row.cinder)
            except NotInstalled as error:
                lost.add(row.cinder)
                print_failure(row.name, Failure.of(error), job.options.verbose)
        if row.cinder not in lost:
            rows.append(row)
    return rows


def _simulated(job: Job, rows: Sequence[Row]) -> Generator[Outcome | Failure]:
    """What comes of each row, in their order."""
    workers = _workers(job, len(rows))
    if workers == 1:
        for row in rows:
            yield _tried(job, row, bar=not job.options.verbose)
        return
    import joblib

    from sim.analysis.pool import results

    if engine_of(job.case.scenario, job.options.engine) == "fast":
        from sim.fast.engine import compiled

        compiled()
    asked = replace(job, rows=[])
    # Arrays that joblib shares between processes can only be read, and Numba would compile for them anew.
    with joblib.parallel_config("loky", n_jobs=workers, max_nbytes=None):
        found = results(_tried_for, ((os.getpid(), asked, row) for row in rows), ordered=True)
    with closing(found), progress("strategies", len(rows), shown=True) as done:
        for number, one in enumerate(found, 1):
            if done is not None:
                done(number)
            yield one


def _workers(job: Job, rows: int) -> int:
    """How many processes simulate so many rows.

    One where Cinder's log is shown: those of several would mix. Of those that are not asked for, only as many
    as have room for their runs in half of the memory.
    """
    options, events = job.options, len(job.case.trace.events)
    if options.verbose or rows < 2:
        return 1
    if options.workers != -1:
        return min(options.workers, rows)
    if rows * events < WORTH_PROCESSES[engine_of(job.case.scenario, options.engine)]:
        return 1
    from joblib import cpu_count

    in_memory = int(memory_gib() / 2 / gib_of(events, RUN_BYTES))
    return max(1, min(rows, int(cpu_count()), in_memory))


def _tried_for(pid: int, job: Job, row: Row) -> Outcome | Failure:
    """Run a row in a process that works for another one."""
    _end_with(pid)
    return _tried(job, row, bar=False)


@cache
def _end_with(pid: int) -> None:
    """End this process soon after its parent, which may be killed: nobody would remove what it writes."""

    def watch() -> None:
        while os.getppid() == pid:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _tried(job: Job, row: Row, bar: bool) -> Outcome | Failure:
    """Run a row, with a progress `bar`, and write its hidden folder."""
    # A trace of too many events has not been read.
    simulate = _in_memory if len(job.case.trace.events) else _streamed
    try:
        return simulate(job, row, bar)
    except BadInput:
        raise
    except Exception as error:
        if full(error):
            raise
        return Failure.of(error)


def _in_memory(job: Job, row: Row, bar: bool) -> Outcome:
    """Run a row, and write its tables. Only the tables of requests and others have creates of the
    warm-up."""
    from sim.analysis.comparison import counted, in_blocks
    from sim.analysis.findings import findings
    from sim.analysis.metrics import uploads_of
    from sim.analysis.recommend import to_raise
    from sim.analysis.results import manifest_of

    case, options, start = row.case, job.options, time.perf_counter()
    with progress(row.name, len(case.trace.events), bar) as done:
        whole = run(
            case,
            row.strategy,
            options.engine,
            cinder=row.cinder,
            progress=done,
            cinder_log=options.verbose,
            watch=options.watch,
            compact=True,
        )
    records = counted(whole, job.blocks.start_s)
    tables = _tables(whole, records, row)
    lines = findings(records, case, row.strategy)
    counts = in_blocks(records.requests, case.scenario.tiers, row.name, job.blocks)
    wall_s, creates = time.perf_counter() - start, len(whole.requests)
    manifest = manifest_of(case, row.strategy, options.engine, creates, records.engine_s, wall_s, job.sha256)
    if job.blocks.start_s:
        manifest["warm_up_s"] = job.blocks.start_s
    if options.cinder is not None:
        manifest |= {"strategy": row.way, "cinder": row.cinder.told}
    _write(job, row, tables, manifest)
    shown, hosts = None, None
    if options.reported:
        from sim.report.aggregates import aggregates

        shown, hosts = (
            aggregates(records, case, job.blocks.start_s),
            whole.requests["host"].astype("category"),
        )
    uploads = uploads_of(records, row.name)
    raises, kept = to_raise(records, case), whole if job.several_cinders else None
    return Outcome(
        row,
        tables["summary"],
        tables["pools"],
        lines,
        manifest,
        uploads,
        counts,
        shown,
        hosts,
        raises,
        kept,
        whole.broken,
        records.nodes,
        records.links,
    )


def _tables(whole: Records, counted: Records, row: Row) -> dict[str, pd.DataFrame]:
    """The tables to write, by name: `counted` are the records after the warm-up."""
    from sim.analysis.metrics import pools_table, summary

    return {
        "requests": whole.requests,
        "others": whole.others,
        "pools": pools_table(counted, row.case),
        "cache_events": counted.cache_events,
        "cache": counted.cache,
        "uploads": counted.uploads,
        "summary": summary(counted, row.case, row.name),
        "space": counted.space,
        "nodes": counted.nodes,
        "directories": counted.directories,
        "links": counted.links,
    }


def _streamed(job: Job, row: Row, bar: bool) -> Outcome:
    """Run a row on a trace that stays on disk, and write its tables."""
    from sim.analysis.results import TABLES, manifest_of
    from sim.inputs.tables import count_rows
    from sim.report.aggregates import of_streamed

    case, start = row.case, time.perf_counter()
    assert job.new is not None  # else the trace would have been read
    with scratch(job.new, "streaming") as new:
        with progress(row.name, count_rows(case.trace.path), bar) as done:
            ran = api.stream(case, row.strategy, new, _format(job), done)
        wall_s = time.perf_counter() - start
        manifest = manifest_of(case, row.strategy, "fast", ran.creates, ran.engine_s, wall_s, job.sha256)
        _write(job, row, {name: getattr(ran, name) for name in TABLES}, manifest)
    shown, summary = of_streamed(ran.seconds, ran.space, ran.directories), ran.summary
    return Outcome(
        *(row, summary.assign(strategy=row.name), ran.pools, ran.findings, manifest),
        aggregates=shown,
        nodes=ran.nodes,
        links=ran.links,
    )


def _write(
    job: Job, row: Row, tables: Mapping[str, pd.DataFrame | Path], manifest: Mapping[str, Any]
) -> None:
    """Write the hidden folder of a row if `--out` is given; with `--cinder`, its summary says who decided."""
    from sim.analysis.results import no_folders, put

    if job.options.out is not None and job.new is not None:
        name, summary = row.name, tables["summary"]
        if job.options.cinder is not None and not isinstance(summary, Path):
            summary = summary.assign(strategy=row.way)
            summary.insert(list(summary.columns).index("strategy") + 1, "cinder", row.cinder.name)
            tables = {**tables, "summary": summary}
        no_folders(job.options.out / name / f"{table}.{_format(job)}" for table in tables)
        with scratch(job.new, "row") as new:
            put(tables, manifest, new, _format(job))
            new.replace(_hidden(job.new, row))


def _hidden(folder: Path, row: Row) -> Path:
    """Where the results of a row are until it is their turn: what is hidden does not come to its place."""
    return folder / f".{row.name}"


def _format(job: Job) -> Literal["csv", "parquet"]:
    return (job.options.fmt or Format.csv).value
