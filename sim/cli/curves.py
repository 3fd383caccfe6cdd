"""The command `curve`: the hit rate for every cache limit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim import api
from sim.cli.ending import command
from sim.cli.shared import (
    Engine,
    Fmt,
    Format,
    Json,
    Scenario,
    bad_options,
    checked,
    handed_over,
    plain,
    print_json,
    progress,
    show,
)
from sim.inputs.problems import printable

STRATEGY = "cache-only"


@command()
def curve(
    scenario: Scenario,
    engine: Engine = "cinder",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the tables and a manifest into DIR.")
    ] = None,
    fmt: Fmt = None,
    as_json: Json = False,
) -> None:
    """Show the hit rate for every cache limit.

    The curves show each pool and each tier. They follow the rules of the cache only. They ignore times,
    fills at the same moment and all other limits. To see those effects, run the scenario with other limits.
    The engine only chooses a pool for creates that have no host.

    \b
    Example: which limit binds, and what would a larger limit bring?
      cinder-cache curve scenarios/smallest.yaml --engine fast --out results
    """
    case = checked(scenario, [STRATEGY], bad_options(engine, [], out, fmt))
    ran = handed_over(case.scenario, engine)
    from sim.analysis.results import versions, write
    from sim.inputs.files import hashes
    from sim.report.display_curves import curves_text

    with progress("placing", len(case.trace.events), shown=True) as done:
        curves = api.curve(case, STRATEGY, engine=engine, progress=done)
    tables = curves._asdict()
    if out is not None:
        manifest = {"scenario": case.scenario.name, "strategy": STRATEGY, "engine": ran}
        written = manifest | {"versions": versions(), "sha256": hashes(case)}
        write(tables, written, out, (fmt or Format.csv).value)
        print(f"curve: written to {printable(str(out))}", file=sys.stderr)
    if as_json:
        documents = {name: plain(table) for name, table in tables.items()}
        print_json({"scenario": case.scenario.name} | documents)
    else:
        show(curves_text(curves), coloured=True)
