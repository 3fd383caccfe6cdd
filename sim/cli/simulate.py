"""Commands that check and simulate a scenario: validate, run, compare, verify."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import api
from sim.cli import comparing
from sim.cli.cinders import differences, sides
from sim.cli.ending import Failure, Trace, command
from sim.cli.jobs import MOST_EVENTS, Options, job_of, written
from sim.cli.outcomes import Outcome, outcomes_of
from sim.cli.shared import (
    Cinders,
    Engine,
    Fmt,
    Json,
    Out,
    Scenario,
    Strategies,
    Verbose,
    WarmUp,
    Watch,
    Workers,
    checked,
    deciding,
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
    import pandas as pd

    from sim.analysis.comparison import Comparison
    from sim.analysis.parting import Parting
    from sim.analysis.verification import Side
    from sim.inputs.scenario import Case


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
    cinder: Cinders = None,
    watch: Watch = False,
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
    options = Options(scenario, [strategy], engine, out, fmt, verbose, cinder=cinder, watch=watch)
    with written(job_of(options)) as job:
        outcomes = outcomes_of(job)
    if outcomes and as_json:
        documents = [_document(outcome) for outcome in outcomes]
        print_json({"runs": documents} if job.several_cinders else documents[0])
    elif outcomes:
        _show(outcomes, None, differ=differences(job, outcomes))
    raise typer.Exit(0 if len(outcomes) == len(job.rows) and _sound(outcomes) else 1)


@command()
def compare(
    scenario: Scenario,
    strategies: Strategies = None,
    engine: Engine = "cinder",
    cinder: Cinders = None,
    watch: Watch = False,
    replications: Annotated[
        int, typer.Option(min=1, help="How many times to redraw a generated workload.")
    ] = 1,
    warm_up: WarmUp = "0",
    all_findings: Annotated[
        bool, typer.Option("--all-findings", help="Print all that stands out, not the ten costliest lines.")
    ] = False,
    out: Out = None,
    fmt: Fmt = None,
    workers: Workers = -1,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Simulate strategies on the same workload, side by side.

    The output has tables, confidence intervals and findings. With `--out`, it also has report.html.
    With --replications, every strategy sees the same arrivals in each replication. Long runs and replications
    use all cores. The folders of the strategies and the findings come from the first replication. A trace is
    one history: its intervals come from blocks of that history.

    \b
    Example: compare all strategies on the smallest scenario:
      cinder-cache compare scenarios/smallest.yaml --strategies all \\
          --engine fast --out results
    """
    options = Options(
        *(scenario, _listed(strategies), engine, out, fmt, verbose, warm_up, replications),
        *(out is not None, cinder, watch, workers),
    )
    with written(job_of(options, compared=True)) as job:
        outcomes = outcomes_of(job)
        found = comparing.compared(job, outcomes)
        differ = differences(job, outcomes)
        told = comparing.told(job, outcomes, found, differ) if outcomes else None
        if told is not None:
            comparing.write(job, outcomes, found, told)
    if as_json:
        runs = [_document(outcome) for outcome in outcomes]
        intervals = {} if found is None else comparing.document(found)
        more: dict[str, Any] = {}
        if job.several_cinders:
            more = {"cinders": [each.document for each in differ]}
        elif told is not None:
            more = {"recommendation": comparing.recommendation(told)}
        print_json({"scenario": job.case.scenario.name, "runs": runs} | intervals | more)
    elif told is not None:
        ends = [] if job.several_cinders else comparing.ends(job, outcomes, found, told)
        _show(outcomes, found, ends, differ, all_findings)
    done = {outcome.row.name for outcome in outcomes}
    if replications > 1:
        done = set() if found is None else set(found.measures["strategy"])
    raise typer.Exit(0 if done == {row.name for row in job.rows} and _sound(outcomes) else 1)


@command()
def verify(
    scenario: Scenario,
    strategies: Strategies = None,
    cinder: Cinders = None,
    verbose: Trace = False,
) -> None:
    """Compare both engines and show where they first differ.

    With --cinder, engine fast is compared with that Cinder. Several Cinders are compared with each other.

    \b
    Example: check that the compiled engine decides as Cinder's code does:
      cinder-cache verify scenarios/smallest.yaml --strategies cache-only
    """
    chosen = _listed(strategies)
    problems: list[str] = []
    compared = sides(deciding(cinder, "cinder", problems))
    case = checked(scenario, chosen, problems + unknown("cinder", chosen or []))
    _warn(case, compared)
    from sim.analysis.verification import verdict

    equal = True
    asked = dict.fromkeys(case.scenario.strategies if chosen is None else chosen)
    for strategy, (first, second) in product(asked, compared):
        try:
            with progress(strategy, 2 * len(case.trace.events), shown=True) as done:
                found = verdict(case, strategy, done, first, second)
        except Exception as error:
            print_failure(strategy, Failure.of(error), verbose)
            equal = False
        else:
            show(str(found))
            equal = equal and found.difference is None
    raise typer.Exit(0 if equal else 1)


def _warn(case: Case, compared: Sequence[tuple[Side, Side]]) -> None:
    """Say on stderr where engine fast follows other rules; raises BadInput if it cannot run the case."""
    first, second = compared[0]
    if second != "fast":
        return
    if problems := not_comparable(case):
        raise BadInput(problems)
    from sim.cinder.release import caution

    across = any(backend.clone_across_pools for backend in case.scenario.backends.values())
    if expect := caution(across, None if isinstance(first, str) else first.release):
        print(expect, file=sys.stderr)


def _listed(strategies: str | None) -> list[str] | None:
    """The names in `--strategies`; every name for `all`; None without the option."""
    from sim.inputs.strategies import STRATEGIES

    if strategies is None:
        return None
    return list(STRATEGIES) if strategies == "all" else [name.strip() for name in strategies.split(",")]


def _sound(outcomes: list[Outcome]) -> bool:
    """Whether no invariant was broken, as far as runs were watched."""
    return not any(outcome.broken for outcome in outcomes)


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "strategy": outcome.row.way,
        **({"cinder": outcome.row.cinder.told} if "cinder" in outcome.manifest else {}),
        "summary": plain(outcome.summary),
        **_there("uploads", outcome.uploads),
        "pools": plain(outcome.pools),
        **_there("nodes", outcome.nodes),
        **_there("links", outcome.links),
        "findings": outcome.findings,
        **({} if outcome.broken is None else {"broken": list(outcome.broken)}),
        "manifest": outcome.manifest,
    }


def _there(name: str, table: pd.DataFrame | None) -> dict[str, Any]:
    """A table under its name; nothing if it is empty."""
    return {} if table is None or table.empty else {name: plain(table)}


def _show(
    outcomes: list[Outcome],
    found: Comparison | None,
    ends: Sequence[str] = (),
    differ: Sequence[Parting] = (),
    all_findings: bool = True,
) -> None:
    """Print the tables of the rows, their confidence intervals, what stood out, then where Cinders part, or
    what to run."""
    import pandas as pd

    from sim.report.display import comparison_text, tables_text, uploads_text
    from sim.report.display_findings import findings_text
    from sim.report.display_nodes import links_text, nodes_text
    from sim.report.terminal import filled, item

    replicated = found is not None and found.of == "replications"
    lines = [] if replicated else [tables_text(pd.concat([outcome.summary for outcome in outcomes])), ""]
    uploads = [each.uploads for each in outcomes if each.uploads is not None and len(each.uploads)]
    if uploads:
        lines += [uploads_text(pd.concat(uploads)), ""]
    for of, text in (("nodes", nodes_text), ("links", links_text)):
        tables = [getattr(each, of).assign(strategy=each.row.name) for each in outcomes]
        if told_of := text(pd.concat(tables)):
            lines += [told_of, ""]
    if found is not None:
        lines += [comparison_text(found), ""]
    stood_out = findings_text(
        [(outcome.row.name, outcome.findings) for outcome in outcomes],
        outcomes[0].row.case.scenario.tiers,
        " in replication 0" if replicated else "",
        all_findings,
    )
    lines += [stood_out, ""] if stood_out else []
    for outcome in outcomes:
        if outcome.broken is not None:
            what = "these invariants break:" if outcome.broken else "no invariant breaks."
            lines += [f"{outcome.row.name}: {what}", *map(item, outcome.broken), ""]
    for parting in differ:
        about = [*map(filled, (parting.line, *parting.known)), *([parting.told] if parting.told else [])]
        lines += [*about, ""]
    lines += [each for line in ends for each in (line, "")]
    show("\n".join(lines[:-1]), coloured=True)
