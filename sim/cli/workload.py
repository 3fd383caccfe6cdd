"""Commands about a workload: generate one as a trace, fit the generator to one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim import api
from sim.cli.shared import Json, Scenario, app, clean_end, print_json, show, unwritable
from sim.inputs.problems import BadInput, printable


@app.command()
@clean_end()
def generate(
    scenario: Scenario,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The trace: CSV, or Parquet if it ends in .parquet.")
    ],
    replication: Annotated[int, typer.Option(min=0, help="Which draw, the same each time.")] = 0,
) -> None:
    """Write the workload of a scenario as a trace.

    The images it has made are written beside it. A copy of the scenario with `workload: {trace: trace.csv}`
    and `images: images.csv` then runs the same.

    \b
    Example, the week that generated.yaml describes:
      cinder-cache generate scenarios/generated.yaml --out trace.csv
    """
    if problems := [*unwritable(out.parent), *(["--out: is a directory"] if out.is_dir() else [])]:
        raise BadInput(problems)
    for written in api.generate(scenario, out, replication):
        print(f"written: {printable(str(written))}", file=sys.stderr)


@app.command()
@clean_end()
def fit(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="The trace, CSV or Parquet.")],
    images: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its image list: which are private, raw, or versions of one name."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the parameters of a generated workload like a trace.

    Says how good each fit is. The first lines are YAML, to be pasted below `workload:` in a scenario. Twice
    as large: twice `creates_per_day`. Golden images every week: `release_every: 7d`.

    \b
    Example, of two weeks:
      cinder-cache fit scenarios/two_tiers/trace.csv
    """
    fitted = api.fit(trace, images)
    if as_json:
        print_json(fitted.document())
    else:
        show(str(fitted))
