"""Commands that check and simulate a scenario: validate, run, compare, verify."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import comparing
from sim.cli.outcome import Outcome, outcome_of
from sim.cli.shared import (
    Engine,
    Fmt,
    Format,
    Json,
    Out,
    Scenario,
    Strategies,
    Verbose,
    WarmUp,
    app,
    bad_options,
    checked,
    clean_end,
    one_strategy,
    plain,
    print_failure,
    print_json,
    progress,
    show,
    warm_up_s,
    wrong_warm_up,
)
from sim.inputs.problems import BadInput, printable
from sim.run import unknown

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison
    from sim.analysis.statistics import Blocks
    from sim.inputs.scenario import Case

# Engine `fast` does not read a larger Parquet trace into memory, if it can stream it.
MOST_EVENTS = 5_000_000


@app.command()
@clean_end()
def validate(scenario: Scenario) -> None:
    """Check a scenario and all files that it names.

    \b
    Example: list every problem of a scenario and its files:
      cinder-cache validate scenarios/two_tiers.yaml
    """
    case = checked(scenario, None, [])
    events = case.trace.events["event"]
    creates = int(((events == "create") & (case.trace.events["image_id"] != "")).sum())
    show(
        f"ok: {len(events):,} events ({creates:,} creates from an image),"
        f" {len(case.images):,} images, {len(case.scenario.pools()):,} pools,"
        f" {len(case.scenario.tiers):,} tiers"
    )


@app.command()
@clean_end()
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
      cinder-cache run scenarios/placement.yaml --strategy cache-only \\
          --engine fast --out results
    """
    _, outcomes, _ = _simulate(scenario, [strategy], engine, out, fmt, verbose)
    if outcomes and as_json:
        print_json(_document(outcomes[0]))
    elif outcomes:
        _show(outcomes, None)
    raise typer.Exit(0 if outcomes else 1)


@app.command()
@clean_end()
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
    Example: compare all strategies on arrays at their volume limit:
      cinder-cache compare scenarios/full_arrays.yaml --strategies all \\
          --engine fast --out results
    """
    chosen = _listed(strategies)
    case, outcomes, blocks = _simulate(
        scenario,
        chosen,
        engine,
        out,
        fmt,
        verbose,
        warm_up=warm_up,
        replications=replications,
        reported=out is not None,
    )
    found = _compared(case, outcomes, blocks, engine, replications)
    if out is not None and found is not None and replications > 1:
        comparing.write(found, out)
        print(f"replications: written to {printable(str(out))}", file=sys.stderr)
    if out is not None and outcomes:
        comparing.report(case, outcomes, found, engine, out)
    if as_json:
        runs = [_document(outcome) for outcome in outcomes]
        intervals = {} if found is None else comparing.document(found)
        print_json({"scenario": case.scenario.name, "runs": runs} | intervals)
    elif outcomes:
        _show(outcomes, found)
    names = set(case.scenario.strategies if chosen is None else chosen)
    done = {outcome.strategy for outcome in outcomes}
    if replications > 1:
        done = set() if found is None else set(found.measures["strategy"])
    raise typer.Exit(0 if done == names else 1)


@app.command()
@clean_end()
def verify(
    scenario: Scenario,
    strategies: Strategies = None,
) -> None:
    """Compare both engines and show where they first differ.

    \b
    Example: check that the compiled engine decides as Cinder's code does:
      cinder-cache verify scenarios/placement.yaml --strategies cache-only
    """
    chosen = _listed(strategies)
    case = checked(scenario, chosen, unknown("cinder", chosen or []))
    from sim.analysis.verification import verdict
    from sim.cinder.release import caution

    if expect := caution():
        print(expect, file=sys.stderr)
    equal = True
    for strategy in dict.fromkeys(case.scenario.strategies if chosen is None else chosen):
        try:
            with progress(strategy, 2 * len(case.trace.events), shown=True) as done:
                found = verdict(case, strategy, done)
        except Exception as error:
            print_failure(strategy, error)
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


def _simulate(
    scenario: Path,
    chosen: list[str] | None,
    engine: str,
    out: Path | None,
    fmt: Format | None,
    verbose: bool,
    warm_up: str = "0",
    replications: int = 1,
    reported: bool = False,
) -> tuple[Case, list[Outcome], Blocks]:
    """Run the strategies (None: those in the scenario) one by one; a line on stderr names each failure.

    With `out`, each strategy is written as soon as it ends, so that later failures cannot lose it. With
    `reported`, each outcome has the figures of the report. The third result is the blocks of the history
    after `warm_up`.
    """
    from sim.analysis.statistics import Blocks

    most = MOST_EVENTS if engine == "fast" and out is not None and warm_up == "0" else None
    problems = bad_options(engine, chosen or [], out, fmt) + wrong_warm_up(warm_up)
    case = checked(scenario, chosen, problems, most, replications)
    names = list(dict.fromkeys(case.scenario.strategies if chosen is None else chosen))
    blocks = Blocks.between(warm_up_s(warm_up, case, names), case.last_create_s)
    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    from sim.inputs.files import hashes

    sha256 = hashes(case)
    outcomes = []
    for strategy in names:
        try:
            outcomes.append(outcome_of(case, strategy, engine, sha256, out, fmt, verbose, blocks, reported))
        except BadInput:  # a trace that is checked while it is read
            raise
        except Exception as error:
            if verbose:
                traceback.print_exc()
            print_failure(strategy, error)
    return case, outcomes, blocks


def _compared(
    case: Case, outcomes: list[Outcome], blocks: Blocks, engine: str, replications: int
) -> Comparison | None:
    """Confidence intervals of the outcomes; None if there is no data for them."""
    if replications > 1:
        summaries = {outcome.strategy: outcome.summary for outcome in outcomes}
        return comparing.replicated(case, summaries, engine, replications, blocks.start_s)
    from sim.analysis.comparison import of_history

    counts = [outcome.counts for outcome in outcomes if outcome.counts is not None]
    return of_history(counts, blocks, case.scenario.seed) if counts else None


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "strategy": outcome.strategy,
        "summary": plain(outcome.summary),
        **({} if outcome.uploads is None or outcome.uploads.empty else {"uploads": plain(outcome.uploads)}),
        "pools": plain(outcome.pools),
        "findings": outcome.findings,
        "manifest": outcome.manifest,
    }


def _show(outcomes: list[Outcome], found: Comparison | None) -> None:
    """Print the tables of the strategies, their confidence intervals, then the findings of each strategy."""
    import pandas as pd

    from sim.report.display import comparison_text, tables_text, uploads_text
    from sim.report.terminal import item

    replicated = found is not None and found.of == "replications"
    lines = [] if replicated else [tables_text(pd.concat([outcome.summary for outcome in outcomes])), ""]
    uploads = [each.uploads for each in outcomes if each.uploads is not None and len(each.uploads)]
    if uploads:
        lines += [uploads_text(pd.concat(uploads)), ""]
    if found is not None:
        lines += [comparison_text(found), ""]
    for outcome in outcomes:
        if outcome.findings:
            of = f"{outcome.strategy} (replication 0)" if replicated else outcome.strategy
            lines += [f"{of}:", *map(item, outcome.findings), ""]
    show("\n".join(lines[:-1]))
