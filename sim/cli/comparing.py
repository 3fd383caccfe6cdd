"""Confidence intervals for the command compare: over replications, or over blocks of one history."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli.shared import plain, progress, write_csv
from sim.inputs.problems import BadInput, printable

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison
    from sim.analysis.curves import Curves
    from sim.cli.jobs import Job, Outcome
    from sim.inputs.scenario import Case


def compared(job: Job, outcomes: list[Outcome]) -> Comparison | None:
    """Confidence intervals of the outcomes; None if there is no data for them."""
    from sim.analysis.comparison import of_history

    if job.options.replications > 1:
        return _replicated(job, outcomes) if outcomes else None
    counts = [outcome.counts for outcome in outcomes if outcome.counts is not None]
    return of_history(counts, job.blocks, job.case.scenario.seed) if counts else None


def _replicated(job: Job, outcomes: list[Outcome]) -> Comparison | None:
    """Compare strategies over several replications; None if every strategy failed in one of them.

    The outcomes are the first replication; the others run here. A strategy that fails in a replication is
    left out; a line on stderr names it.
    """
    from sim.analysis.comparison import of_replications, replicate_all, without_failed

    summaries = {outcome.strategy: outcome.summary for outcome in outcomes}
    count, start_s = job.options.replications, job.blocks.start_s
    with progress("replications", count - 1, shown=True) as done:
        others = replicate_all(
            job.case.path, list(summaries), job.options.engine, range(1, count), start_s, done
        )
    for number, one in enumerate(others, 1):
        for name, failed in one.items():
            if isinstance(failed, str):
                print(f"strategy {name} failed in replication {number}: {failed}", file=sys.stderr)
    whole = without_failed([summaries, *others])
    return of_replications(whole, start_s) if whole else None


def document(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON, under the key `replications` or `blocks`."""
    about = {
        "units": found.units,
        "confidence": found.confidence,
        "warm_up_s": found.warm_up_s,
        "reference": found.reference,
    }
    if found.of == "blocks":
        about["block_s"] = found.block_s
    return {
        found.of: about | {"measures": plain(found.measures), "differences": plain(found.differences)},
    }


def write(job: Job, outcomes: list[Outcome], found: Comparison | None) -> None:
    """Write `report.html`, and the tables of several replications, next to the folders of the strategies."""
    folder = job.options.out
    if folder is None:
        return
    if found is not None and job.options.replications > 1:
        write_csv(found.measures, folder / "replications.csv")
        write_csv(found.differences, folder / "differences.csv")
        print(f"replications: written to {printable(str(folder))}", file=sys.stderr)
    _report(job, outcomes, found, folder)


def _report(job: Job, outcomes: list[Outcome], found: Comparison | None, folder: Path) -> None:
    import pandas as pd

    from sim.report.comparison import comparison_page, recommended
    from sim.report.page import FILE, made_of, write
    from sim.report.parts import Ran

    case = job.case
    summaries = pd.concat([outcome.summary for outcome in outcomes], ignore_index=True)
    runs = [
        Ran(outcome.strategy, outcome.strategy, case, outcome.aggregates, outcome.findings)
        for outcome in outcomes
        if outcome.aggregates is not None
    ]
    made = made_of(case, job.options.engine, outcomes[0].manifest.get("warm_up_s", 0.0))
    curves = _curves(case, outcomes, recommended(summaries, found))
    kept = [each.uploads for each in outcomes if each.uploads is not None]
    uploads = pd.concat(kept) if kept else pd.DataFrame()
    write(comparison_page(case, summaries, runs, found, curves, uploads, made), folder)
    print(f"report: written to {printable(str(folder / FILE))}", file=sys.stderr)


def _curves(case: Case, outcomes: list[Outcome], chosen: str) -> tuple[str, Curves] | None:
    """Hit curves for one strategy: `chosen` if it has a cache, else the first one that has; else None.

    The creates stay on the pools where that strategy placed them.
    """
    from sim.analysis.curves import curve
    from sim.inputs.strategies import STRATEGIES

    for outcome in sorted(outcomes, key=lambda each: each.strategy != chosen):
        if STRATEGIES[outcome.strategy].image_volume_cache_enabled and outcome.hosts is not None:
            with suppress(BadInput):  # another eviction than Cinder's
                return outcome.strategy, curve(case, outcome.strategy, hosts=outcome.hosts)
    return None
