"""Confidence intervals for the command compare: over replications, or over blocks of one history."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli.shared import plain, progress, write_csv
from sim.inputs.problems import BadInput, printable

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison
    from sim.analysis.curves import Curves
    from sim.analysis.parting import Parting
    from sim.cli.jobs import Job
    from sim.cli.outcomes import Outcome
    from sim.report.comparison import Told


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

    summaries = {outcome.row.name: outcome.summary for outcome in outcomes}
    count, start_s = job.options.replications, job.blocks.start_s
    asked = list(dict.fromkeys(row.way for row in job.rows if row.way == row.strategy))
    cinders = list(dict.fromkeys(row.cinder for row in job.rows))
    with progress("replications", count - 1, shown=True) as done:
        others = replicate_all(
            job.case.path,
            asked,
            job.options.engine,
            range(1, count),
            start_s,
            done,
            cinders,
            job.options.workers,
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


def told(job: Job, outcomes: list[Outcome], found: Comparison | None, differ: Sequence[Parting] = ()) -> Told:
    """What the comparison recommends. Where a cache should wait on some backends, that is simulated, too.

    Of several Cinders none is recommended: it tells where they `differ`.
    """
    import pandas as pd

    from sim.analysis.comparison import counted
    from sim.analysis.metrics import summary
    from sim.analysis.recommend import Advice, advice, means_of
    from sim.analysis.rows import with_caches
    from sim.report.comparison import Told, told_of
    from sim.run import run

    if job.several_cinders:
        return Told(
            Advice(outcomes[-1].row.name), [line for each in differ for line in (each.line, *each.known)], ""
        )
    summaries = pd.concat([outcome.summary for outcome in outcomes], ignore_index=True)
    of_row = {outcome.row.name: outcome for outcome in outcomes}
    strategies = {name: outcome.row.strategy for name, outcome in of_row.items()}
    found_advice = advice(summaries, found, job.case.scenario, strategies)
    row, simulated = of_row[found_advice.row].row, None
    if found_advice.wait:
        row = replace(row, case=with_caches(row.case, dict.fromkeys(found_advice.backends, False)))
        if job.options.replications == 1 and len(row.case.trace.events):
            records = run(row.case, row.strategy, job.options.engine, cinder=row.cinder)
            simulated = summary(counted(records, job.blocks.start_s), row.case, row.name)
    means = means_of(summaries, found)
    return told_of(row, found_advice, means, of_row[found_advice.row].raises, simulated)


def ends(job: Job, outcomes: list[Outcome], found: Comparison | None, told: Told) -> list[str]:
    """What a comparison ends with: hits against price as a picture, why, and the verdict in two lines."""
    import pandas as pd

    from sim.report.comparison import last_lines
    from sim.report.display_front import front_text
    from sim.report.terminal import filled

    summaries = pd.concat([outcome.summary for outcome in outcomes], ignore_index=True)
    picture = front_text(summaries)
    why = "\n".join(map(filled, told.lines[1:]))
    verdict = "\n".join(map(filled, last_lines(job.case, summaries, found, told)))
    return [text for text in (picture, why, verdict) if text]


def recommendation(told: Told) -> dict[str, Any]:
    """The recommendation as JSON."""
    return {
        "row": told.advice.row,
        "cache_waits_on": told.advice.backends,
        "why": told.lines,
        "cinder_conf": told.conf,
    }


def write(job: Job, outcomes: list[Outcome], found: Comparison | None, told: Told) -> None:
    """Write `report.html`, and the tables of several replications, next to the folders of the rows."""
    from sim.analysis.results import EACH
    from sim.report.page import FILE

    out, new = job.options.out, job.new
    if out is None or new is None:
        return
    if found is not None and job.options.replications > 1:
        write_csv(found.measures, new / "replications.csv")
        write_csv(found.differences, new / "differences.csv")
        write_csv(found.each, new / EACH)
        job.told.append(f"replications: written to {printable(str(out))}")
    _report(job, outcomes, found, told, new)
    job.told.append(f"report: written to {printable(str(out / FILE))}")


def _report(job: Job, outcomes: list[Outcome], found: Comparison | None, told: Told, folder: Path) -> None:
    import pandas as pd

    from sim.report.comparison import comparison_page
    from sim.report.page import made_of, write
    from sim.report.parts import Ran

    summaries = pd.concat([outcome.summary for outcome in outcomes], ignore_index=True)
    runs = [
        Ran(outcome.row.name, outcome.row.strategy, outcome.row.case, outcome.aggregates, outcome.findings)
        for outcome in outcomes
        if outcome.aggregates is not None
    ]
    made = made_of(job.case, job.options.engine, outcomes[0].manifest.get("warm_up_s", 0.0))
    curves = _curves(outcomes, told.advice.row)
    kept = [each.uploads for each in outcomes if each.uploads is not None]
    uploads = pd.concat(kept) if kept else pd.DataFrame()
    write(comparison_page(job.case, summaries, runs, found, curves, uploads, told, made), folder)


def _curves(outcomes: list[Outcome], chosen: str) -> tuple[str, Curves] | None:
    """Hit curves for one row: `chosen` if it has a cache, else the first one that has; else None.

    The creates stay on the pools where that row placed them.
    """
    from sim.analysis.curves import curve
    from sim.inputs.strategies import STRATEGIES

    for outcome in sorted(outcomes, key=lambda each: each.row.name != chosen):
        row = outcome.row
        if STRATEGIES[row.strategy].image_volume_cache_enabled and outcome.hosts is not None:
            with suppress(BadInput):  # another eviction than Cinder's
                return row.name, curve(row.case, row.strategy, hosts=outcome.hosts)
    return None
