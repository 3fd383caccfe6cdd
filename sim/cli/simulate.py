"""Commands that check and simulate a scenario: validate, run, compare, verify."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import api
from sim.cli import comparing
from sim.cli.ending import Trace, command
from sim.cli.jobs import MOST_EVENTS, Options, Outcome, job_of, outcomes_of, written
from sim.cli.shared import (
    Engine,
    Fmt,
    Json,
    Out,
    Scenario,
    Strategies,
    Verbose,
    WarmUp,
    checked,
    one_strategy,
    plain,
    print_failure,
    print_json,
    progress,
    show,
)
from sim.inputs.problems import BadInput
from sim.run import not_comparable, unknown

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison


@command()
def validate(scenario: Scenario) -> None:
    """Check a scenario and all files that it names.

    \b
    Example: list every problem of a scenario and its files:
      cinder-cache validate scenarios/smallest.yaml
    """
    case = checked(scenario, None, [], MOST_EVENTS, most_drawn=MOST_EVENTS)
    size = api.size_of(case)
    about = "" if size.counted else "about "
    show(
        f"ok: {about}{size.events:,} events ({about}{size.creates:,} creates from an image),"
        f" {len(case.images):,} images, {len(case.scenario.pools()):,} pools,"
        f" {len(case.scenario.tiers):,} tiers"
    )
    if size.events > MOST_EVENTS:
        show(
            f"a run with all in memory needs about {size.run_gib:,.0f} GiB"
            + ("; engine fast with --out reads the trace in parts" if size.counted else "")
        )


@command()
def run(
    scenario: Scenario,
    strategy: Annotated[
        str, typer.Option(help="Strategy to simulate, such as cache-only.", autocompletion=one_strategy)
    ],
    engine: Engine = "cinder",
    out: Out = None,
    fmt: Fmt = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Simulate one strategy.

    \b
    Example: write one row per create to results/cache-only/requests.csv:
      cinder-cache run scenarios/smallest.yaml --strategy cache-only \\
          --engine fast --out results
    """
    with written(job_of(Options(scenario, [strategy], engine, out, fmt, verbose))) as job:
        outcomes = outcomes_of(job)
    if outcomes and as_json:
        print_json(_document(outcomes[0]))
    elif outcomes:
        _show(outcomes, None)
    raise typer.Exit(0 if outcomes else 1)


@command()
def compare(
    scenario: Scenario,
    strategies: Strategies = None,
    engine: Engine = "cinder",
    replications: Annotated[
        int, typer.Option(min=1, help="How many times to redraw a generated workload.")
    ] = 1,
    warm_up: WarmUp = "0",
    out: Out = None,
    fmt: Fmt = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Simulate strategies on the same workload, side by side.

    The output has tables, confidence intervals and findings. With `--out`, it also has report.html.
    With --replications, every strategy sees the same arrivals in each replication. Replications run on all
    cores. The folders of the strategies and the findings come from the first replication. A trace is
    one history: its intervals come from blocks of that history.

    \b
    Example: compare all strategies on the smallest scenario:
      cinder-cache compare scenarios/smallest.yaml --strategies all \\
          --engine fast --out results
    """
    options = Options(
        scenario, _listed(strategies), engine, out, fmt, verbose, warm_up, replications, out is not None
    )
    with written(job_of(options, compared=True)) as job:
        outcomes = outcomes_of(job)
        found = comparing.compared(job, outcomes)
        told = comparing.told(job, outcomes, found) if outcomes else None
        if told is not None:
            comparing.write(job, outcomes, found, told)
    if as_json:
        runs = [_document(outcome) for outcome in outcomes]
        intervals = {} if found is None else comparing.document(found)
        recommends = {} if told is None else {"recommendation": comparing.recommendation(told)}
        print_json({"scenario": job.case.scenario.name, "runs": runs} | intervals | recommends)
    elif told is not None:
        _show(outcomes, found, told.lines)
    done = {outcome.row.name for outcome in outcomes}
    if replications > 1:
        done = set() if found is None else set(found.measures["strategy"])
    raise typer.Exit(0 if done == {row.name for row in job.rows} else 1)


@command()
def verify(
    scenario: Scenario,
    strategies: Strategies = None,
    verbose: Trace = False,
) -> None:
    """Compare both engines and show where they first differ.

    \b
    Example: check that the compiled engine decides as Cinder's code does:
      cinder-cache verify scenarios/smallest.yaml --strategies cache-only
    """
    chosen = _listed(strategies)
    case = checked(scenario, chosen, unknown("cinder", chosen or []))
    if problems := not_comparable(case):
        raise BadInput(problems)
    from sim.analysis.verification import verdict
    from sim.cinder.release import caution

    across = any(backend.clone_across_pools for backend in case.scenario.backends.values())
    if expect := caution(across):
        print(expect, file=sys.stderr)
    equal = True
    for strategy in dict.fromkeys(case.scenario.strategies if chosen is None else chosen):
        try:
            with progress(strategy, 2 * len(case.trace.events), shown=True) as done:
                found = verdict(case, strategy, done)
        except Exception as error:
            print_failure(strategy, error, verbose)
            equal = False
        else:
            show(str(found))
            equal = equal and found.difference is None
    raise typer.Exit(0 if equal else 1)


def _listed(strategies: str | None) -> list[str] | None:
    """The names in `--strategies`; every name for `all`; None without the option."""
    from sim.inputs.strategies import STRATEGIES

    if strategies is None:
        return None
    return list(STRATEGIES) if strategies == "all" else [name.strip() for name in strategies.split(",")]


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "strategy": outcome.row.name,
        "summary": plain(outcome.summary),
        **({} if outcome.uploads is None or outcome.uploads.empty else {"uploads": plain(outcome.uploads)}),
        "pools": plain(outcome.pools),
        "findings": outcome.findings,
        "manifest": outcome.manifest,
    }


def _show(outcomes: list[Outcome], found: Comparison | None, recommends: Sequence[str] = ()) -> None:
    """Print the tables of the rows, their confidence intervals, the findings of each, then what to run."""
    import pandas as pd

    from sim.report.display import comparison_text, tables_text, uploads_text
    from sim.report.terminal import filled, item

    replicated = found is not None and found.of == "replications"
    lines = [] if replicated else [tables_text(pd.concat([outcome.summary for outcome in outcomes])), ""]
    uploads = [each.uploads for each in outcomes if each.uploads is not None and len(each.uploads)]
    if uploads:
        lines += [uploads_text(pd.concat(uploads)), ""]
    if found is not None:
        lines += [comparison_text(found), ""]
    for outcome in outcomes:
        if outcome.findings:
            of = f"{outcome.row.name} (replication 0)" if replicated else outcome.row.name
            lines += [f"{of}:", *map(item, outcome.findings), ""]
    if recommends:
        lines += [*map(filled, recommends), ""]
    show("\n".join(lines[:-1]), coloured=True)
