"""Simulates one strategy, writes its tables and keeps what the command shows."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim import api
from sim.cli.shared import Format, progress
from sim.inputs.problems import printable
from sim.run import run

if TYPE_CHECKING:
    import pandas as pd

    from sim.analysis.statistics import Blocks
    from sim.inputs.scenario import Case
    from sim.report.aggregates import Aggregates


@dataclass(frozen=True)
class Outcome:
    """The results of one strategy's run that are shown. It does not keep the rows: there may be millions."""

    strategy: str
    summary: pd.DataFrame
    pools: pd.DataFrame
    findings: list[str]
    manifest: dict[str, Any]
    uploads: pd.DataFrame | None = None
    counts: pd.DataFrame | None = None  # `sim.analysis.comparison.in_blocks`, of a history in memory
    aggregates: Aggregates | None = None  # for the report, of one in memory
    hosts: pd.Series[Any] | None = None  # where its creates from an image went


def outcome_of(
    case: Case,
    strategy: str,
    engine: str,
    sha256: dict[str, str],
    out: Path | None,
    fmt: Format | None,
    verbose: bool,
    blocks: Blocks,
    reported: bool,
) -> Outcome:
    """Run a strategy, and write its tables if `out` is given.

    Only the tables of requests and others have the creates before the blocks.
    """
    from sim.analysis.comparison import counted, in_blocks
    from sim.analysis.findings import findings
    from sim.analysis.metrics import pools_table, summary, uploads_of
    from sim.analysis.results import manifest_of, write

    if not len(case.trace.events):  # there were too many events to read them
        assert out is not None
        return _streamed(case, strategy, sha256, out, fmt or Format.csv)
    start = time.perf_counter()
    with progress(strategy, len(case.trace.events), shown=not verbose) as done:
        whole = run(case, strategy, engine, progress=done, cinder_log=verbose)
    records = counted(whole, blocks.start_s)
    tables = {
        "requests": whole.requests,
        "others": whole.others,
        "pools": pools_table(records, case),
        "cache_events": records.cache_events,
        "cache": records.cache,
        "uploads": records.uploads,
        "summary": summary(records, case, strategy),
        "space": records.space,
    }
    lines = findings(records, case, strategy)
    counts = in_blocks(records.requests, case.scenario.tiers, strategy, blocks)
    wall_s, creates = time.perf_counter() - start, len(whole.requests)
    manifest = manifest_of(case, strategy, engine, creates, records.engine_s, wall_s, sha256)
    if blocks.start_s:
        manifest["warm_up_s"] = blocks.start_s
    if out is not None:
        write(tables, manifest, out / strategy, (fmt or Format.csv).value)
        print(f"{strategy}: written to {printable(str(out / strategy))}", file=sys.stderr)
    shown, hosts = None, None
    if reported:
        from sim.report.aggregates import aggregates

        shown, hosts = aggregates(records, case, blocks.start_s), whole.requests["host"].astype("category")
    uploads = uploads_of(records, strategy)
    return Outcome(
        strategy, tables["summary"], tables["pools"], lines, manifest, uploads, counts, shown, hosts
    )


def _streamed(case: Case, strategy: str, sha256: dict[str, str], out: Path, fmt: Format) -> Outcome:
    """Run a strategy on a trace that stays on disk, and write its tables."""
    from sim.analysis.results import TABLES, manifest_of, write
    from sim.inputs.tables import count_rows

    start, folder = time.perf_counter(), out / strategy
    folder.mkdir(parents=True, exist_ok=True)
    with progress(strategy, count_rows(case.trace.path), shown=True) as done:
        ran = api.stream(case, strategy, folder, fmt.value, done)
    tables = {name: getattr(ran, name) for name in TABLES}
    wall_s = time.perf_counter() - start
    manifest = manifest_of(case, strategy, "fast", ran.creates, ran.engine_s, wall_s, sha256)
    write(tables, manifest, folder, fmt.value)
    print(f"{strategy}: written to {printable(str(folder))}", file=sys.stderr)
    from sim.report.aggregates import of_streamed

    shown = of_streamed(ran.seconds, ran.space)
    return Outcome(strategy, ran.summary, ran.pools, [], manifest, aggregates=shown)
