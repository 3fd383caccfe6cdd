"""The command `curve`: hits against the limits of the cache."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim import api
from sim.cli.shared import (
    Engine,
    Fmt,
    Format,
    Json,
    Scenario,
    app,
    bad_options,
    checked,
    clean_end,
    plain,
    print_failure,
    print_json,
    progress,
    show,
)
from sim.inputs.problems import BadInput, printable

STRATEGY = "cache-only"


@app.command()
@clean_end()
def curve(
    scenario: Scenario,
    engine: Engine = "cinder",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and manifest into DIR.")
    ] = None,
    fmt: Fmt = None,
    as_json: Json = False,
) -> None:
    """Show hits against the limits of the cache.

    Per pool and tier, and from the cache's rules alone: the engine only places creates that have no host.
    Times, concurrent fills and all other limits are left out: for those, run the scenario with other
    limits.

    \b
    Example, which limit binds, and what a larger one would bring:
      cinder-cache curve scenarios/two_tiers.yaml --engine fast --out results
    """
    case = checked(scenario, [STRATEGY], bad_options(engine, [], out, fmt))
    from sim.model.records import hashes, versions, write
    from sim.report.display import curves_text

    try:
        with progress("placing", len(case.trace.events), shown=True) as done:
            curves = api.curve(case, STRATEGY, engine=engine, progress=done)
        tables = curves._asdict()
        if out is not None:
            manifest = {"scenario": case.scenario.name, "strategy": STRATEGY, "engine": engine}
            written = manifest | {"versions": versions(), "sha256": hashes(case)}
            write(tables, written, out, (fmt or Format.csv).value)
            print(f"curve: written to {printable(str(out))}", file=sys.stderr)
    except BadInput:
        raise
    except Exception as error:
        print_failure(STRATEGY, error)
        raise typer.Exit(1) from None
    if as_json:
        documents = {name: plain(table) for name, table in tables.items()}
        print_json({"scenario": case.scenario.name} | documents)
    else:
        show(curves_text(curves))
